use std::sync::Arc;

use proptest::prelude::*;

use super::super::sim::share;
use super::*;

fn ms(x: f64) -> Duration {
    Duration::from_secs_f64(x / 1e3)
}

fn histogram(latencies_ms: &[f64]) -> LatencyHistogram {
    let mut h = LatencyHistogram::default();
    latencies_ms.iter().for_each(|x| h.record(ms(*x)));
    h
}

#[test]
fn buckets_span_a_microsecond_to_a_thousand_seconds() {
    assert!((edge(0) - 1e-6).abs() < 1e-18);
    assert!((edge(BUCKETS) - 1e3).abs() < 1e-9);
    assert!((edge(1) / edge(0) - 1.04).abs() < 0.001);
    for (latency, i) in [
        (Duration::ZERO, 0),
        (Duration::from_nanos(3), 0),
        (Duration::from_secs(999), BUCKETS - 1),
        (Duration::MAX, BUCKETS - 1),
    ] {
        assert_eq!(bucket(latency), i);
    }
}

#[test]
fn a_quantile_s_bound_holds_at_all_times_together() {
    for q in [0.5, 0.9, 0.99] {
        let truth = -(1.0_f64 - q).ln() / 1e3;
        let missed = share(300, |rng| {
            let mut h = LatencyHistogram::default();
            (0..800).any(|i| {
                h.record(ms(rng.exponential()));
                i % 5 == 0 && h.quantile_upper(q, 0.1).is_some_and(|bound| bound < truth)
            })
        });
        assert!(missed <= 0.1, "{q}: {missed}");
    }
}

#[test]
fn a_bound_needs_enough() {
    let few = histogram(&[1.0; 100]);
    assert!(few.quantile_upper(0.5, 0.05).is_some_and(|b| b < 0.0011));
    assert_eq!(few.quantile_upper(0.99, 0.05), None);
    assert!(histogram(&[1.0; 1000]).quantile_upper(0.99, 0.05).is_some());
    assert_eq!(LatencyHistogram::default().quantile_upper(0.5, 0.05), None);
    assert_eq!(LatencyHistogram::default().quantile(0.5), None);
}

#[test]
fn above_counts_only_what_surely_is() {
    let h = histogram(&[1.0, 10.0, 10.0, 100.0]);
    assert_eq!(h.above(0.02), Counts::new(4, 1));
    assert_eq!(h.above(0.005), Counts::new(4, 3));
    // In the same bucket.
    assert_eq!(h.above(0.00999), Counts::new(4, 1));
    assert_eq!(h.above(0.0), Counts::new(4, 4));
    assert_eq!(h.above(2000.0), Counts::new(4, 0));
    assert_eq!(h.fraction_above(0.05), Some(0.25));
}

#[test]
fn threads_record_together() {
    let latency = Arc::new(AtomicLatency::default());
    std::thread::scope(|scope| {
        for t in 1..=4 {
            let latency = Arc::clone(&latency);
            scope.spawn(move || (0..1000).for_each(|_| latency.record(ms(f64::from(t)))));
        }
    });
    let read = latency.read();
    assert_eq!(read.count(), 4000);
    assert_eq!(read.above(0.0035).k, 1000);
}

#[test]
fn odd_lengths_from_elsewhere_do_no_harm() {
    let short: LatencyHistogram = serde_json::from_str("[1, 2]").unwrap();
    assert_eq!(short.count(), 3);
    let text = serde_json::to_string(&short).unwrap();
    assert_eq!(serde_json::from_str::<LatencyHistogram>(&text).unwrap(), short);
}

proptest! {
    #[test]
    fn quantiles_are_right_within_a_bucket(
        mut xs in prop::collection::vec(0.01_f64..9000.0, 1..200), q in 0.0..1.0,
    ) {
        let h = histogram(&xs);
        xs.sort_by(f64::total_cmp);
        let got = h.quantile(q).unwrap() * 1e3;
        let at = ((q * xs.len() as f64).clamp(0.5, xs.len() as f64 - 0.5)).ceil() as usize;
        let truth = xs[at - 1];
        prop_assert!((got / truth).ln().abs() <= 0.0400, "{} {}", got, truth);
    }

    #[test]
    fn windows_subtract(a in prop::collection::vec(0.01_f64..9000.0, 0..50), b in prop::collection::vec(0.01_f64..9000.0, 0..50)) {
        let (older, newer) = (histogram(&a), histogram(&b));
        let mut both = older.clone();
        both.merge(&newer);
        prop_assert_eq!(both.minus(&older), newer);
    }

    #[test]
    fn an_edge_is_its_own(i in 1..BUCKETS) {
        let mut h = LatencyHistogram::default();
        h.0[i] = 1;
        prop_assert_eq!(h.above(edge(i)).k, 1);
        prop_assert_eq!(h.above(edge(i) * 1.001).k, 0);
    }
}
