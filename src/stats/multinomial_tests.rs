use proptest::prelude::*;

use super::super::sim::share;
use super::*;

#[test]
fn a_fair_split_keeps_its_alpha() {
    for shares in [[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]] {
        let alarms = share(2000, |rng| {
            let mut counts = [0_u64; 3];
            (0..1000).any(|_| {
                let u = rng.uniform();
                counts[usize::from(u > shares[0]) + usize::from(u > shares[0] + shares[1])] += 1;
                let pairs = [0, 1, 2].map(|i| (counts[i], shares[i]));
                sample_ratio(&pairs).p_value <= 0.05
            })
        });
        assert!(alarms <= 0.05, "{alarms}");
        assert!(alarms > 0.001, "{alarms}");
    }
}

#[test]
fn a_broken_split_is_found() {
    let ok = |a: u64, b: u64| sample_ratio(&[(a, 5000.0), (b, 5000.0)]).p_value > 0.01;
    assert!(ok(5050, 4950));
    assert!(!ok(100, 0));
    assert!(!ok(52_000, 48_000));
    assert!(ok(0, 0) && ok(3, 0));
    assert!(sample_ratio(&[(100, 99.0), (1, 0.0)]).p_value <= 0.0);
    assert!(sample_ratio(&[(100, 0.0), (1, 0.0)]).p_value >= 1.0);
}

#[test]
fn says_so_in_words() {
    let fine = sample_ratio(&[(50, 1.0), (50, 1.0)]);
    assert!(fine.words(0.05).starts_with("traffic is split as it should be, as far as 100"));
    let broken = sample_ratio(&[(500, 1.0), (50, 1.0)]);
    assert!(broken.words(0.05).ends_with("(p < 0.0001; n = 550)"));
}

#[test]
fn two_arms_are_the_beta_binomial() {
    // One request to an arm with half of the prior: the mixture expects just that.
    let one = sample_ratio(&[(1, 0.5), (0, 0.5)]).p_value;
    assert!((one - 1.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn scale_of_shares_does_not_matter(
        counts in prop::collection::vec((0_u64..10_000, 0.01_f64..1.0), 2..6), scale in 0.1..1e4,
    ) {
        let scaled: Vec<_> = counts.iter().map(|(n, s)| (*n, s * scale)).collect();
        let (a, b) = (sample_ratio(&counts), sample_ratio(&scaled));
        prop_assert!((a.p_value - b.p_value).abs() < 1e-6);
        prop_assert!((0.0..=1.0).contains(&a.p_value));
    }
}
