use proptest::prelude::*;

use super::super::sim::Rng;
use super::*;

const QUESTION: Question = Question {
    candidate: 2,
    baseline: 1,
    min_effect: 0.01,
    alpha: 0.05,
    min_samples: 100,
    better: Better::Higher,
};

fn shares(c: (u64, u64), b: (u64, u64)) -> Arms {
    Arms::Proportions { candidate: Counts::new(c.0, c.1), baseline: Counts::new(b.0, b.1) }
}

#[test]
fn says_which_is_worse_and_by_how_much() {
    let c = compare(&shares((4200, 3639), (4100, 3784)), &QUESTION);
    assert_eq!(c.verdict, Verdict::Worse);
    assert_eq!(
        c.words,
        "version 2 is worse than version 1 by 5.6 points (95 % interval 3.5 to 7.8, always valid; \
         n = 4200 and 4100)"
    );
    assert!(c.p_value < 1e-6 && c.more_samples.is_none());
    let lower = Question { better: Better::Lower, ..QUESTION };
    let c = compare(&shares((4200, 3639), (4100, 3784)), &lower);
    assert_eq!(c.verdict, Verdict::Better);
}

#[test]
fn tells_no_difference_from_not_knowing() {
    let c = compare(&shares((90_000, 81_000), (90_000, 81_090)), &QUESTION);
    assert_eq!(c.verdict, Verdict::NoDifference);
    assert!(c.words.contains("by as much as 1 point: it is 0.10 points below"), "{}", c.words);
    let c = compare(&shares((300, 270), (300, 273)), &QUESTION);
    assert_eq!(c.verdict, Verdict::KeepGoing);
    assert!(c.words.starts_with("nothing is proven yet: version 2 is 1.0 points below version 1"));
    assert!(c.words.ends_with("more samples should tell"), "{}", c.words);
    // Certain, but not worth having.
    let c = compare(&shares((4_000_000, 3_608_000), (4_000_000, 3_600_000)), &QUESTION);
    assert_eq!(c.verdict, Verdict::NoDifference);
    assert!(c.p_value < 0.001);
}

#[test]
fn waits_for_the_minimum_and_for_any_data() {
    let question = Question { min_samples: 1000, ..QUESTION };
    let c = compare(&shares((300, 0), (300, 300)), &question);
    assert_eq!(c.verdict, Verdict::KeepGoing);
    assert_eq!(c.more_samples, Some(1400));
    let c = compare(&shares((0, 0), (300, 300)), &question);
    assert_eq!((c.verdict, c.difference, c.interval), (Verdict::KeepGoing, None, None));
    assert!(c.words.starts_with("nothing to compare yet"));
    let none = Arms::Means { candidate: Moments::default(), baseline: Moments::default() };
    assert_eq!(compare(&none, &question).verdict, Verdict::KeepGoing);
}

#[test]
fn means_are_told_as_they_are() {
    let of = |n: u64, mean: f64| {
        let x = n as f64;
        Moments { n, sum: x * mean, sum_sq: x * (mean * mean + 1.0) }
    };
    let arms = Arms::Means { candidate: of(5000, 0.5), baseline: of(5000, 0.3) };
    let c = compare(&arms, &QUESTION);
    assert_eq!(c.verdict, Verdict::Better);
    assert!(c.words.starts_with("version 2 is better than version 1 by 0.20 (95 %"), "{}", c.words);
}

#[test]
fn the_estimate_of_what_is_needed_is_about_right() {
    let rng = &mut Rng::new(5);
    let (mut c, mut b) = (Counts::default(), Counts::default());
    let mut told = None;
    let needed = (1_u64..)
        .find(|i| {
            c.record(rng.hit(0.87));
            b.record(rng.hit(0.90));
            let arms = Arms::Proportions { candidate: c, baseline: b };
            let comparison = compare(&arms, &QUESTION);
            if *i == 300 {
                told = comparison.more_samples.map(|more| 600 + more);
            }
            comparison.verdict != Verdict::KeepGoing
        })
        .unwrap();
    let told = told.unwrap() as f64 / (2 * needed) as f64;
    assert!((0.2..5.0).contains(&told), "{told}");
}

#[test]
fn serialises_as_the_api_says() {
    let c = compare(&shares((90_000, 81_000), (90_000, 81_090)), &QUESTION);
    let json = serde_json::to_value(&c).unwrap();
    assert_eq!(json["verdict"], "no_difference");
    assert_eq!(json["interval"].as_array().unwrap().len(), 2);
}

proptest! {
    #[test]
    fn verdicts_follow_from_the_interval(
        n in 0_u64..5000, m in 0_u64..5000, p in 0.0..1.0, q in 0.0..1.0, min_effect in 0.0..0.2,
    ) {
        let k = |n: u64, p: f64| (n as f64 * p) as u64;
        let question = Question { min_effect, ..QUESTION };
        let arms = shares((n, k(n, p)), (m, k(m, q)));
        let c = compare(&arms, &question);
        match (c.verdict, c.interval) {
            (Verdict::Better, Some([low, _])) => prop_assert!(low > 0.0 && c.p_value <= 0.05),
            (Verdict::Worse, Some([_, high])) => prop_assert!(high < 0.0 && c.p_value <= 0.05),
            (Verdict::NoDifference, Some([low, high])) => {
                prop_assert!(-min_effect < low && high < min_effect);
            }
            (verdict, _) => prop_assert_eq!(verdict, Verdict::KeepGoing),
        }
    }
}
