use proptest::prelude::*;

use super::super::sim::share;
use super::*;

#[test]
fn the_interval_covers_at_all_times_together() {
    for (p, alpha) in [(0.5, 0.05), (0.9, 0.05), (0.005, 0.05), (0.3, 0.2)] {
        let missed = share(2000, |rng| {
            let mut counts = Counts::default();
            (0..1000).any(|_| {
                counts.record(rng.hit(p));
                counts.p_value(p) <= alpha
            })
        });
        assert!(missed <= alpha, "{p}: {missed}");
        // It is a test at all: alarms do happen.
        assert!(missed > alpha / 20.0, "{p}: {missed}");
    }
}

#[test]
fn a_candidate_that_always_fails_is_proven_within_a_few() {
    let n = (1..).find(|n| Counts::new(*n, *n).p_above(0.005) <= 0.01).unwrap();
    assert!(n <= 3, "{n}");
    assert!(Counts::new(30, 0).p_above(0.005) >= 1.0);
    assert!(Counts::new(30, 0).p_below(0.9) < 0.2);
}

#[test]
fn nothing_seen_says_nothing() {
    let none = Counts::default();
    assert_eq!(none.rate(), None);
    assert_eq!(none.interval(0.05), [0.0, 1.0]);
    assert!((none.p_value(0.3) - 1.0).abs() < 1e-12);
    assert!((none.p_above(0.0) - 1.0).abs() < 1e-12);
    // One success rules out that there can be none.
    assert!(Counts::new(1, 1).p_above(0.0) <= 0.0);
}

#[test]
fn known_value() {
    // B(1.5, 0.5) / B(0.5, 0.5) = 1/2, so one success against 0.1 is worth 5.
    assert!((Counts::new(1, 1).ln_e(0.1).exp() - 5.0).abs() < 1e-12);
}

fn counts() -> impl Strategy<Value = Counts> {
    (0_u64..100_000).prop_flat_map(|n| (Just(n), 0..=n)).prop_map(|(n, k)| Counts { n, k })
}

proptest! {
    #[test]
    fn interval_and_p_value_agree(c in counts(), p in 0.0..1.0, alpha in 0.001..0.5) {
        let [low, high] = c.interval(alpha);
        prop_assert!(0.0 <= low && low <= high && high <= 1.0);
        if let Some(seen) = c.rate() {
            prop_assert!(low <= seen && seen <= high);
        }
        let held = c.p_value(p) > alpha;
        prop_assert!(held == (low..=high).contains(&p) || (p - low).abs().min((p - high).abs()) < 1e-9);
        // Higher confidence, wider.
        let [wide_low, wide_high] = c.interval(alpha / 2.0);
        prop_assert!(wide_low <= low && high <= wide_high);
    }

    #[test]
    fn flipping_mirrors(c in counts(), p in 0.0..1.0) {
        prop_assert!((c.p_value(p) - c.flip().p_value(1.0 - p)).abs() < 1e-6);
        prop_assert!(c.p_above(p).max(c.p_below(p)) > 0.999);
        prop_assert_eq!(c.merge(c).minus(c), c);
    }

    #[test]
    fn more_successes_speak_more_for_above(c in counts(), p in 0.0..1.0) {
        if c.k < c.n {
            prop_assert!(Counts::new(c.n, c.k + 1).p_above(p) <= c.p_above(p) + 1e-9);
        }
    }
}
