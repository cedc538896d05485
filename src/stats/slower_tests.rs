use std::time::Duration;

use proptest::prelude::*;

use super::super::sim::{Rng, share};
use super::*;

fn exponential(rng: &mut Rng, mean_ms: f64) -> Duration {
    Duration::from_secs_f64(rng.exponential() * mean_ms / 1e3)
}

fn sample(rng: &mut Rng, n: u64, mean_ms: f64) -> LatencyHistogram {
    let mut h = LatencyHistogram::default();
    (0..n).for_each(|_| h.record(exponential(rng, mean_ms)));
    h
}

#[test]
fn an_arm_that_is_just_fast_enough_keeps_its_alpha() {
    // Exactly 1.2 times slower: the edge of the null.
    for q in [0.5, 0.95] {
        let alarms = share(300, |rng| {
            let (mut c, mut b) = (LatencyHistogram::default(), LatencyHistogram::default());
            (0..1500).any(|i| {
                c.record(exponential(rng, 1.2));
                b.record(exponential(rng, 1.0));
                i % 10 == 0 && slower_than_ratio(&c, &b, q, 1.2).p_value <= 0.2
            })
        });
        assert!(alarms <= 0.2, "{q}: {alarms}");
    }
}

#[test]
fn ten_times_slower_is_found() {
    let rng = &mut Rng::new(7);
    let (candidate, baseline) = (sample(rng, 40, 10.0), sample(rng, 2000, 1.0));
    let e = slower_than_ratio(&candidate, &baseline, 0.99, 1.2);
    assert!(e.p_value < 0.001, "{e:?}");
    assert!(e.threshold.unwrap() > 0.0046 * 1.2);
    let e = slower_than(&candidate, 0.5, 0.002);
    assert!(e.p_value < 0.01, "{e:?}");
    assert!(slower_than(&candidate, 0.5, 0.2).p_value >= 1.0);
}

#[test]
fn half_as_slow_again_is_found_within_some_thousand() {
    for (q, most) in [(0.5, 8000), (0.9, 12_000)] {
        let rng = &mut Rng::new(3);
        let (mut c, mut b) = (LatencyHistogram::default(), LatencyHistogram::default());
        let n = (1..).find(|i| {
            c.record(exponential(rng, 1.5));
            b.record(exponential(rng, 1.0));
            i % 20 == 0 && slower_than_ratio(&c, &b, q, 1.2).p_value <= 0.05
        });
        println!("p{}: {n:?} per arm", q * 100.0);
        assert!(n.is_some_and(|n| n <= most), "{q}: {n:?}");
        assert!(slower_than_ratio(&b, &c, q, 1.2).p_value >= 1.0);
    }
}

#[test]
fn too_small_a_baseline_proves_nothing() {
    let rng = &mut Rng::new(7);
    let (candidate, baseline) = (sample(rng, 4000, 10.0), sample(rng, 50, 1.0));
    assert!(slower_than_ratio(&candidate, &baseline, 0.99, 1.2).p_value > 0.5);
    let empty = LatencyHistogram::default();
    for (c, b) in [(&empty, &empty), (&candidate, &empty), (&empty, &baseline)] {
        assert!(slower_than_ratio(c, b, 0.5, 1.2).p_value >= 1.0);
    }
}

proptest! {
    /// The crossing is no worse than any edge.
    #[test]
    fn the_best_edge_is_found(
        seed in 1_u64..1000, n in 0_u64..3000, m in 0_u64..3000, slower in 0.5..4.0, q in 0.3..0.99,
    ) {
        let rng = &mut Rng::new(seed);
        let (c, b) = (sample(rng, n, slower), sample(rng, m, 1.0));
        let best = slower_than_ratio(&c, &b, q, 1.1).p_value;
        let below = b.below();
        let all = (1..BUCKETS).map(|i| {
            let bound = Counts { n: b.count(), k: below[i] }.p_above(q);
            (2.0 * bound.max(c.above(1.1 * edge(i)).p_above(1.0 - q))).min(1.0)
        });
        prop_assert!((best - all.fold(1.0, f64::min)).abs() < 1e-12);
    }
}
