use proptest::prelude::*;

use super::super::sim::{Rng, share};
use super::*;

fn moments(rewards: &[f64]) -> Moments {
    let mut m = Moments::default();
    rewards.iter().for_each(|x| m.record(*x));
    m
}

type Draw = fn(&mut Rng) -> f64;

const DRAWS: [(&str, Draw, f64); 4] = [
    ("normal", |r| r.normal(), 0.0),
    ("exponential", |r| r.exponential(), 1.0),
    ("share 0.9", |r| f64::from(r.hit(0.9)), 0.9),
    ("uniform", |r| r.uniform(), 0.5),
];

#[test]
fn one_mean_stays_within_its_interval() {
    for (name, draw, mean) in DRAWS {
        let missed = share(2000, |rng| {
            let mut m = Moments::default();
            (0..1000).any(|_| {
                m.record(draw(rng));
                m.p_value(mean) <= 0.05
            })
        });
        assert!(missed <= 0.05, "{name}: {missed}");
        assert!(missed > 0.0025, "{name}: {missed}");
    }
}

#[test]
fn an_a_a_test_keeps_its_alpha_looked_at_after_each_observation() {
    for (name, draw, _) in DRAWS {
        for every in [2, 10] {
            let alarms = share(2000, |rng| {
                let mut arms = [Moments::default(); 2];
                (1..1000).any(|i| {
                    arms[usize::from(i % every == 0)].record(draw(rng));
                    MeanDifference::new(arms[1], arms[0]).p_value(0.0) <= 0.05
                })
            });
            assert!(alarms <= 0.05, "{name} 1:{every}: {alarms}");
        }
    }
}

#[test]
fn finds_a_difference_in_rewards() {
    let rng = &mut Rng::new(1);
    let (mut a, mut b) = (Moments::default(), Moments::default());
    for _ in 0..2000 {
        a.record(rng.normal() + 0.25);
        b.record(rng.normal());
    }
    let d = MeanDifference::new(a, b);
    let [low, high] = d.interval(0.05).unwrap();
    assert!(low > 0.0 && low < 0.25 && high > 0.25, "{low} {high}");
    assert!(d.p_above(0.0) < 0.001 && d.p_below(0.0) >= 1.0);
}

#[test]
fn few_or_constant_rewards_say_nothing() {
    let few = moments(&[1.0, 2.0, 3.0]);
    assert_eq!(few.interval(0.05), None);
    assert!(few.p_value(100.0) >= 1.0);
    let same = moments(&[0.1; 500]);
    assert_eq!((same.variance(), same.interval(0.05)), (None, None));
    assert_eq!(MeanDifference::new(same, same).interval(0.05), None);
    assert_eq!(MeanDifference::new(Moments::default(), same).estimate(), None);
    assert!(MeanDifference::new(same, few).p_value(0.0) >= 1.0);
}

#[test]
fn what_is_not_finite_is_dropped() {
    assert_eq!(moments(&[f64::NAN, f64::INFINITY, 2.0]), moments(&[2.0]));
}

proptest! {
    #[test]
    fn moments_add_up(a in prop::collection::vec(-9.0..9.0, 2..50), b in prop::collection::vec(-9.0..9.0, 2..50)) {
        let both = moments(&[a.clone(), b.clone()].concat());
        let sum = moments(&a).merge(moments(&b));
        prop_assert_eq!(both.n, sum.n);
        prop_assert!((both.mean().unwrap() - sum.mean().unwrap()).abs() < 1e-9);
        let back = sum.minus(moments(&b));
        prop_assert!((back.variance().unwrap_or(0.0) - moments(&a).variance().unwrap_or(0.0)).abs() < 1e-9);
    }

    #[test]
    fn interval_and_p_value_agree(
        n in 100_u64..10_000, m in 100_u64..10_000, shift in -2.0..2.0, spread in 0.1..9.0, delta in -4.0..4.0,
    ) {
        let of = |n: u64, mean: f64, sd: f64| {
            let x = n as f64;
            Moments { n, sum: x * mean, sum_sq: x * (mean * mean + sd * sd) }
        };
        let d = MeanDifference::new(of(n, shift, spread), of(m, 0.0, 1.0));
        let [low, high] = d.interval(0.05).unwrap();
        let held = d.p_value(delta) > 0.05;
        let at_end = (delta - low).abs().min((delta - high).abs()) < 1e-9;
        prop_assert!(held == (low..=high).contains(&delta) || at_end);
    }
}
