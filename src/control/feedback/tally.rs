//! Counts of feedback. Pure.

use std::collections::HashMap;

use serde::Serialize;

/// What is counted of one piece of feedback.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation {
    /// Whether the answer was right, if that is known.
    pub correct: Option<bool>,
    /// True and predicted class, if both are known. Of one alone either precision or recall would
    /// be wrong.
    pub classes: Option<(Class, Class)>,
    /// What the answer was worth.
    pub reward: Option<f64>,
    /// Any other number.
    pub value: Option<f64>,
}

/// A class that is counted alone, or `None`: one of the rest.
pub type Class = Option<u32>;

/// How often a class was true, predicted, and both at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// It was the true class.
    pub support: u64,
    /// It was the predicted class.
    pub predicted: u64,
    /// It was both.
    pub hits: u64,
}

impl Hits {
    pub(super) fn add(&mut self, other: Hits) {
        self.support += other.support;
        self.predicted += other.predicted;
        self.hits += other.hits;
    }
}

/// Enough of a series of numbers for its mean and variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moments {
    /// How many.
    pub n: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl Moments {
    pub(super) fn push(&mut self, number: f64) {
        self.add(Moments { n: 1, sum: number, sum_squares: number * number });
    }

    fn add(&mut self, other: Moments) {
        self.n += other.n;
        self.sum += other.sum;
        self.sum_squares += other.sum_squares;
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// Their sample variance.
    pub fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.n > 1)?;
        // Rounding may take it below zero.
        Some((self.sum_squares - self.sum * mean).max(0.0) / (self.n - 1) as f64)
    }
}

/// Sums of observations.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Observations.
    pub n: u64,
    /// Those of which it is known whether the answer was right.
    pub judged: u64,
    /// Those where it was.
    pub correct: u64,
    /// Those of which both classes are known, by class.
    pub classes: HashMap<Class, Hits>,
    /// Of rewards.
    pub reward: Moments,
    /// Of values.
    pub value: Moments,
}

impl Tally {
    /// Counts one. `hit` of the classes is the caller's `correct`: two of the rest need not be
    /// the same class.
    pub fn push(&mut self, seen: &Observation) {
        self.n += 1;
        self.judged += u64::from(seen.correct.is_some());
        let correct = u64::from(seen.correct == Some(true));
        self.correct += correct;
        if let Some((truth, predicted)) = seen.classes {
            let truth = self.classes.entry(truth).or_default();
            truth.support += 1;
            truth.hits += correct;
            self.classes.entry(predicted).or_default().predicted += 1;
        }
        seen.reward.into_iter().for_each(|r| self.reward.push(r));
        seen.value.into_iter().for_each(|v| self.value.push(v));
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Tally) {
        self.n += other.n;
        self.judged += other.judged;
        self.correct += other.correct;
        for (class, hits) in &other.classes {
            self.classes.entry(*class).or_default().add(*hits);
        }
        self.reward.add(other.reward);
        self.value.add(other.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn observations() -> impl Strategy<Value = Vec<Observation>> {
        let class = prop::option::of(0u32..3);
        let seen = (prop::option::of((class.clone(), class)), prop::option::of(-9.0..9.0));
        let seen = seen.prop_map(|(classes, reward)| {
            let correct = classes.map(|(t, p)| t == p);
            Observation { correct, classes, reward, value: None }
        });
        prop::collection::vec(seen, 0..40)
    }

    proptest! {
        #[test]
        fn the_sum_of_two_tallies_counts_what_both_counted(a in observations(), b in observations()) {
            let of = |seen: &[Observation]| {
                let mut tally = Tally::default();
                seen.iter().for_each(|s| tally.push(s));
                tally
            };
            let (mut sum, all) = (of(&a), of(&[&a[..], &b[..]].concat()));
            sum.add(&of(&b));
            prop_assert_eq!((sum.n, sum.judged, sum.correct), (all.n, all.judged, all.correct));
            prop_assert_eq!(&sum.classes, &all.classes);
            prop_assert_eq!(sum.reward.n, all.reward.n);
            prop_assert!((sum.reward.sum - all.reward.sum).abs() < 1e-9);
            let hits: u64 = all.classes.values().map(|h| h.hits).sum();
            let support: u64 = all.classes.values().map(|h| h.support).sum();
            let predicted: u64 = all.classes.values().map(|h| h.predicted).sum();
            prop_assert_eq!((hits, support, predicted), (all.correct, all.judged, all.judged));
        }

        #[test]
        fn mean_and_variance_are_those_of_the_numbers(numbers in prop::collection::vec(-1e3..1e3, 2..50)) {
            let mut m = Moments::default();
            numbers.iter().for_each(|x: &f64| m.push(*x));
            let n = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / n;
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            prop_assert!((m.mean().unwrap() - mean).abs() < 1e-9);
            prop_assert!((m.variance().unwrap() - variance).abs() < 1e-6);
        }
    }

    #[test]
    fn nothing_has_no_mean_and_one_no_variance() {
        let mut m = Moments::default();
        assert_eq!((m.mean(), m.variance()), (None, None));
        m.push(2.0);
        assert_eq!((m.mean(), m.variance()), (Some(2.0), None));
    }
}
