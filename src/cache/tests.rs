use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::tensor::{DType, Data};

fn tensor(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len()], values).unwrap()
}

fn kept(value: f32) -> Kept {
    Kept { outputs: vec![tensor(&[value])], placements: Vec::new() }
}

fn key(name: &str) -> Key {
    Key::of(&[(name.to_owned(), InputValue::Tensor(tensor(&[1.0])))])
}

fn cache(max_bytes: u64, ttl_seconds: Option<f64>) -> Cache {
    let metrics = crate::telemetry::metrics::Metrics::new(true).unwrap();
    Cache::new(&CacheSpec { max_bytes, ttl_seconds }, metrics.cache.of(["m", "1"]))
}

async fn put(cache: &Cache, name: &str, value: f32) -> f32 {
    let got = cache.get_or(key(name), async { Ok(kept(value)) }).await.unwrap();
    got.outputs[0].to_f32().unwrap()[0]
}

#[test]
fn whatever_differs_has_another_key() {
    let one = |name: &str, value| (name.to_owned(), value);
    let whole = Tensor::new(DType::U8, vec![4], Data::from(Bytes::from_static(b"abcd"))).unwrap();
    let mut pieces = Data::new();
    pieces.push(Bytes::from_static(b"ab"));
    pieces.push(Bytes::from_static(b"cd"));
    let image = |parts: &[&'static str]| {
        InputValue::Images(parts.iter().map(|p| Bytes::from_static(p.as_bytes())).collect())
    };
    let square = Tensor::new(DType::U8, vec![2, 2], pieces.clone()).unwrap();
    let signed = Tensor::new(DType::I8, vec![4], pieces.clone()).unwrap();
    let all = [
        vec![one("x", InputValue::Tensor(whole.clone()))],
        vec![one("y", InputValue::Tensor(whole.clone()))],
        vec![one("x", InputValue::Tensor(square))],
        vec![one("x", InputValue::Tensor(signed))],
        vec![one("x", image(&["abcd"]))],
        vec![one("x", image(&["ab", "cd"]))],
        vec![one("x", image(&["abc", "d"]))],
        vec![one("x", image(&[])), one("y", image(&[]))],
        vec![],
    ];
    let keys: std::collections::HashSet<_> = all.iter().map(|inputs| Key::of(inputs)).collect();
    assert_eq!(keys.len(), all.len());
    // What is the same has the same, in however many pieces and whatever order it came.
    let joined = Tensor::new(DType::U8, vec![4], pieces).unwrap();
    let (a, b) = (one("a", InputValue::Tensor(whole)), one("b", image(&["z"])));
    let other = vec![b.clone(), one("a", InputValue::Tensor(joined))];
    assert_eq!(Key::of(&[a, b]), Key::of(&other));
}

#[test]
fn what_is_kept_does_not_hold_the_batch_it_came_from() {
    let batch = Tensor::from_f32(vec![1000, 1], &[1.0; 1000]).unwrap();
    let row = Kept { outputs: vec![batch.slice_rows(7..8)], placements: Vec::new() };
    let apart = row.apart();
    assert_eq!(apart, row);
    let within = |t: &Tensor| batch.bytes().as_ptr_range().contains(&t.bytes().as_ptr());
    assert!(within(&row.outputs[0]) && !within(&apart.outputs[0]));
}

#[tokio::test]
async fn one_computes_and_the_others_wait() {
    let (cache, computed) = (cache(1 << 20, None), AtomicUsize::new(0));
    let ask = || {
        cache.get_or(key("x"), async {
            computed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(kept(7.0))
        })
    };
    let answers = futures_util::future::join_all((0..20).map(|_| ask())).await;
    assert!(answers.iter().all(|a| a.as_ref().unwrap() == &kept(7.0)));
    assert_eq!(computed.into_inner(), 1);
}

#[tokio::test]
async fn an_error_is_not_kept_and_a_caller_that_leaves_is_replaced() {
    let cache = cache(1 << 20, None);
    let failed = cache.get_or(key("x"), async { Err(InferError::ShuttingDown) }).await;
    assert!(matches!(*failed.unwrap_err(), InferError::ShuttingDown));
    let never = cache.get_or(key("x"), std::future::pending());
    let left = tokio::time::timeout(Duration::from_millis(20), never);
    let (left, got) = tokio::join!(left, put(&cache, "x", 2.0));
    assert!(left.is_err());
    assert_eq!(got, 2.0);
    assert_eq!(put(&cache, "x", 3.0).await, 2.0);
}

#[tokio::test]
async fn old_answers_go_and_there_is_a_bound() {
    let short = cache(1 << 20, Some(0.05));
    assert_eq!(put(&short, "x", 1.0).await, 1.0);
    assert_eq!(put(&short, "x", 2.0).await, 1.0);
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(put(&short, "x", 3.0).await, 3.0);
    let small = cache(10 * (OVERHEAD as u64 + 4), None);
    for i in 0..100 {
        put(&small, &i.to_string(), 1.0).await;
    }
    small.answers.run_pending_tasks().await;
    assert!(small.answers.entry_count() <= 10, "{}", small.answers.entry_count());
}

#[test]
fn a_spec_that_makes_no_sense_is_refused() {
    let check = |max_bytes, ttl_seconds| CacheSpec { max_bytes, ttl_seconds }.check();
    assert!(check(1, Some(60.0)).is_ok() && check(1, None).is_ok());
    assert!(check(0, None).unwrap_err().contains("max_bytes"));
    for ttl in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(check(1, Some(ttl)).unwrap_err().contains("ttl_seconds"));
    }
}
