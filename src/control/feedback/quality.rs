//! Counts into what people and gates look at. Pure.

use serde::Serialize;

use super::tally::{Class, Hits, Moments, Tally};

/// Classes told one by one.
pub const TOLD: usize = 20;

/// How good the answers of a time were.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Pieces of feedback.
    pub n: u64,
    /// Those that say whether the answer was right.
    pub judged: u64,
    /// Those that say it was.
    pub correct: u64,
    /// Share of the judged that were right.
    pub accuracy: Option<f64>,
    /// Mean over the classes that were predicted, of those counted one by one.
    pub precision: Option<f64>,
    /// Mean over the classes that occurred, of those counted one by one.
    pub recall: Option<f64>,
    /// The classes that occurred most often, most frequent first.
    pub classes: Vec<ClassQuality>,
    /// All other classes together.
    pub other: Option<ClassQuality>,
    /// What the answers were worth.
    pub reward: Moments,
    /// Its mean.
    pub reward_mean: Option<f64>,
    /// The other number to follow.
    pub value: Moments,
    /// Its mean.
    pub value_mean: Option<f64>,
}

/// How good the answers were for one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassQuality {
    /// Which; none if these are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<u32>,
    /// How often it was the true class.
    pub support: u64,
    /// How often it was predicted.
    pub predicted: u64,
    /// How often both.
    pub hits: u64,
    /// Share of the predictions that were right.
    pub precision: Option<f64>,
    /// Share of the occurrences that were recognised.
    pub recall: Option<f64>,
}

impl ClassQuality {
    fn new(class: Class, Hits { support, predicted, hits }: Hits) -> ClassQuality {
        let (precision, recall) = (share(hits, predicted), share(hits, support));
        ClassQuality { class, support, predicted, hits, precision, recall }
    }
}

impl Quality {
    pub(super) fn of(tally: &Tally) -> Quality {
        let mut rest = tally.classes.get(&None).copied().unwrap_or_default();
        let mut classes: Vec<_> = tally
            .classes
            .iter()
            .filter(|(class, _)| class.is_some())
            .map(|(class, hits)| ClassQuality::new(*class, *hits))
            .collect();
        classes.sort_by_key(|c| (u64::MAX - c.support, c.class));
        let precision = mean(classes.iter().filter_map(|c| c.precision));
        let recall = mean(classes.iter().filter_map(|c| c.recall));
        for ClassQuality { support, predicted, hits, .. } in
            classes.drain(TOLD.min(classes.len())..)
        {
            rest.add(Hits { support, predicted, hits });
        }
        Quality {
            n: tally.n,
            judged: tally.judged,
            correct: tally.correct,
            accuracy: share(tally.correct, tally.judged),
            precision,
            recall,
            classes,
            other: (rest != Hits::default()).then(|| ClassQuality::new(None, rest)),
            reward: tally.reward,
            reward_mean: tally.reward.mean(),
            value: tally.value,
            value_mean: tally.value.mean(),
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = numbers.fold((0, 0.0), |(n, sum), x| (n + 1, sum + x));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::feedback::tally::Observation;

    fn of(pairs: &[(Class, Class)]) -> Quality {
        let mut tally = Tally::default();
        for (truth, predicted) in pairs {
            let correct = Some(truth == predicted && truth.is_some());
            let classes = Some((*truth, *predicted));
            tally.push(&Observation { correct, classes, reward: None, value: None });
        }
        Quality::of(&tally)
    }

    #[test]
    fn precision_and_recall_as_in_a_text_book() {
        // Class 1: 3 times true, 2 of them found; predicted 3 times. Class 2: twice, found once.
        let pairs = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 1)].map(|(t, p)| (Some(t), Some(p)));
        let q = of(&pairs);
        assert_eq!(q.accuracy, Some(0.6));
        let [one, two] = &q.classes[..] else { panic!("{q:?}") };
        assert_eq!((one.class, one.precision, one.recall), (Some(1), Some(2. / 3.), Some(2. / 3.)));
        assert_eq!((two.support, two.predicted, two.hits), (2, 2, 1));
        assert_eq!(q.precision, Some((2. / 3. + 0.5) / 2.0));
        assert_eq!(q.other, None);
    }

    #[test]
    fn a_class_never_predicted_has_no_precision_but_a_recall_of_zero() {
        let q = of(&[(Some(1), Some(2))]);
        assert_eq!((q.classes[0].class, q.classes[0].precision), (Some(1), None));
        assert_eq!((q.precision, q.recall), (Some(0.0), Some(0.0)));
        assert_eq!(Quality::of(&Tally::default()), Quality::default());
    }

    #[test]
    fn beyond_the_most_frequent_classes_are_summed_up() {
        let mut pairs: Vec<_> = (0..30).flat_map(|c| vec![(Some(c), Some(c)); 2]).collect();
        pairs.push((Some(29), Some(29)));
        pairs.push((None, None));
        let q = of(&pairs);
        assert_eq!((q.classes.len(), q.classes[0].class), (TOLD, Some(29)));
        assert_eq!(q.classes[1].class, Some(0));
        let other = q.other.unwrap();
        assert_eq!((other.support, other.predicted, other.hits), (21, 21, 20));
        assert_eq!(q.recall, Some(1.0));
    }
}
