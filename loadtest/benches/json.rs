//! How fast tensors are read from JSON: `cargo bench -p loadtest --bench json`. A picture of
//! 224 × 224 × 3 numbers, written as Python's `json.dumps` writes what came from 32 bits (17 digits),
//! and as short as they can be (8).

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ocelli::engine::{Dim, Signature, TensorSpec};
use ocelli::protocol::oip::rest;
use ocelli::protocol::tfs::json;
use ocelli::tensor::{DType, Data};

const SHAPE: [usize; 4] = [1, 224, 224, 3];

fn numbers() -> impl Iterator<Item = f32> {
    let mut state = 1u64;
    (0..SHAPE.iter().product()).map(move |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 4.0
    })
}

fn nested(numbers: &[String]) -> String {
    let row = |row: &[String]| {
        let pixels: Vec<_> = row.chunks(3).map(|p| format!("[{}]", p.join(", "))).collect();
        format!("[{}]", pixels.join(", "))
    };
    let rows: Vec<_> = numbers.chunks(224 * 3).map(row).collect();
    format!("[[{}]]", rows.join(", "))
}

fn v2(data: &str) -> Data {
    let body = format!(
        r#"{{"inputs": [{{"name": "x", "shape": {SHAPE:?}, "datatype": "FP32", "data": {data}}}]}}"#
    );
    Data::from(Bytes::from(body))
}

fn json(c: &mut Criterion) {
    let shape = SHAPE.iter().map(|d| Dim::Fixed(*d)).collect();
    let spec = TensorSpec { name: "x".into(), dtype: DType::F32, shape };
    let signature = Signature::new(vec![spec], vec![]);
    for (style, wide) in [("17 digits", true), ("8 digits", false)] {
        let text = |x: f32| if wide { format!("{:?}", f64::from(x)) } else { format!("{x:?}") };
        let numbers: Vec<String> = numbers().map(text).collect();
        let nested = nested(&numbers);
        let bodies =
            [("v2 flat", v2(&format!("[{}]", numbers.join(", ")))), ("v2 nested", v2(&nested))];
        let mut group = c.benchmark_group(style);
        for (name, body) in bodies {
            group.throughput(Throughput::BytesDecimal(body.len() as u64));
            group.bench_function(name, |b| {
                b.iter(|| rest::decode(&signature, None, None, black_box(&body)).expect("a call"));
            });
        }
        let body = format!("{{\"instances\": {nested}}}");
        group.throughput(Throughput::BytesDecimal(body.len() as u64));
        group.bench_function("v1 nested", |b| {
            let parse = json::parse_predict;
            b.iter(|| parse(black_box(body.as_bytes()), &signature.inputs, None).expect("a call"));
        });
        group.bench_function("serde_json::Value nested", |b| {
            b.iter(|| {
                serde_json::from_str::<serde_json::Value>(black_box(&body)).expect("a value")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, json);
criterion_main!(benches);
