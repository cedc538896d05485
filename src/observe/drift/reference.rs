//! What a model used to see. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::histogram::Histogram;
use super::stats::InputStats;

/// Classes counted one by one: the most frequent of the reference.
pub const MAX_CLASSES: usize = 50;

/// Samples that either side needs before they are compared.
pub const ENOUGH: usize = 100;

/// Distributions of inputs and of predicted classes, and the content of `drift.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Inputs that it was learned from.
    pub samples: u64,
    /// By channel.
    channels: Vec<Channel>,
    /// Of the predicted classes.
    classes: Classes,
}

/// The distributions of a channel's statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    mean: Histogram,
    std: Histogram,
}

/// How often classes were predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Classes {
    top: BTreeMap<u32, u64>,
    other: u64,
}

/// Why a `drift.json` is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// It has another form.
    #[error("drift.json: {0}")]
    Json(#[from] serde_json::Error),
    /// Its numbers make no sense.
    #[error("drift.json: {0}")]
    Invalid(String),
}

/// One input and what was predicted for it.
pub type Sample = (InputStats, SmallVec<[u32; 1]>);

impl Reference {
    /// Of samples that all have as many channels as the first.
    pub fn learn(samples: &[Sample]) -> Reference {
        let channels = samples.first().map_or(0, |(stats, _)| stats.spreads().len());
        let channel = |c: usize| {
            let spreads = || samples.iter().filter_map(move |(stats, _)| stats.spreads().get(c));
            let mean: Vec<_> = spreads().map(|s| s.mean).collect();
            let std: Vec<_> = spreads().map(|s| s.std).collect();
            Channel { mean: Histogram::learn(&mean), std: Histogram::learn(&std) }
        };
        let channels = (0..channels).map(channel).collect();
        let mut counts = BTreeMap::new();
        for class in samples.iter().flat_map(|(_, classes)| classes) {
            *counts.entry(*class).or_insert(0u64) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(class, count)| (u64::MAX - count, *class));
        let rest = counts.split_off(MAX_CLASSES.min(counts.len()));
        let other = rest.iter().map(|(_, count)| count).sum();
        let classes = Classes { top: counts.into_iter().collect(), other };
        Reference { samples: samples.len() as u64, channels, classes }
    }

    /// Reads a `drift.json`.
    pub fn from_json(json: &[u8]) -> Result<Reference, ReferenceError> {
        let reference: Reference = serde_json::from_slice(json)?;
        let invalid = |what: String| Err(ReferenceError::Invalid(what));
        if reference.samples < ENOUGH as u64 {
            return invalid(format!(
                "samples is {}, expected at least {ENOUGH}",
                reference.samples
            ));
        }
        if reference.classes.top.len() > MAX_CLASSES {
            return invalid(format!("classes.top has more than {MAX_CLASSES} classes"));
        }
        for (name, histogram) in reference.histograms() {
            if !histogram.is_valid() {
                return invalid(format!("edges and counts of {name} don't fit"));
            }
        }
        for (name, counts) in reference.counts() {
            // So that sums never overflow.
            if counts.iter().any(|c| *c > u64::from(u32::MAX)) {
                return invalid(format!("a count of {name} is above {}", u32::MAX));
            }
        }
        Ok(reference)
    }

    /// Writes a `drift.json`.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Channels of the inputs.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Counts by bin, by name: `mean` and `std`, with a number if there are several channels, and
    /// `class`. Bins of a sample come in the same order from [`Reference::bins`].
    pub(super) fn counts(&self) -> Vec<(String, Vec<u64>)> {
        let histograms = self.histograms().map(|(name, h)| (name, h.counts().to_vec()));
        let mut counts: Vec<_> = histograms.collect();
        let top = self.classes.top.values().copied();
        counts.push(("class".to_owned(), top.chain([self.classes.other]).collect()));
        counts
    }

    /// The bins of an input, if it has the right channels.
    pub(super) fn bins(&self, stats: &InputStats) -> Option<SmallVec<[u8; 6]>> {
        if stats.spreads().len() != self.channels.len() {
            return None;
        }
        let channels = self.channels.iter().zip(stats.spreads());
        Some(channels.flat_map(|(c, s)| [c.mean.bin(s.mean), c.std.bin(s.std)]).collect())
    }

    /// The bin of a predicted class.
    pub(super) fn class_bin(&self, class: u32) -> u8 {
        let top = &self.classes.top;
        let bin = if top.contains_key(&class) { top.range(..class).count() } else { top.len() };
        bin as u8
    }

    fn histograms(&self) -> impl Iterator<Item = (String, &Histogram)> {
        let several = self.channels.len() > 1;
        let name = move |name: &str, c: usize| {
            if several { format!("{name}_{c}") } else { name.to_owned() }
        };
        self.channels
            .iter()
            .enumerate()
            .flat_map(move |(c, h)| [(name("mean", c), &h.mean), (name("std", c), &h.std)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smallvec::smallvec;

    fn samples(n: u32) -> Vec<Sample> {
        let sample = |i: u32| {
            let x = i as f32;
            (InputStats::of_planes(&[x, x + 1.0, 0.0, x], 2), smallvec![i % 60, 59])
        };
        (0..n).map(sample).collect()
    }

    #[test]
    fn names_bins_and_classes() {
        let r = Reference::learn(&samples(120));
        let counts = r.counts();
        let names: Vec<_> = counts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["mean_0", "std_0", "mean_1", "std_1", "class"]);
        assert!(counts[..4].iter().all(|(_, c)| c.iter().sum::<u64>() == 120));
        // 59 is the most frequent, of the others the first 49 are counted one by one.
        let classes = &counts[4].1;
        assert_eq!((classes.len(), classes[49], classes[50]), (51, 122, 20));
        assert_eq!([0, 48, 49, 58, 59, 1000].map(|c| r.class_bin(c)), [0, 48, 50, 50, 49, 50]);
        assert_eq!(r.bins(&InputStats::of_f32(&[1.0])), None);
        assert_eq!(r.bins(&samples(1)[0].0).map(|b| b.len()), Some(4));
        let one = Reference::learn(&[(InputStats::of_f32(&[1.0]), smallvec![])]);
        assert_eq!(one.counts()[0].0, "mean");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_with_a_reason() {
        let json = Reference::learn(&samples(100)).to_json().unwrap();
        let refuse = |from: &str, to: &str| {
            let json = json.replacen(from, to, 1);
            Reference::from_json(json.as_bytes()).unwrap_err().to_string()
        };
        let text = refuse("\"samples\": 100", "\"samples\": 99");
        assert_eq!(text, "drift.json: samples is 99, expected at least 100");
        let text = refuse("\"edges\": [", "\"edges\": [1e9, ");
        assert_eq!(text, "drift.json: edges and counts of mean_0 don't fit");
        assert!(refuse("\"other\": ", "\"other\": 9999999999").contains("of class is above"));
        assert!(refuse("channels", "canals").contains("unknown field `canals`"));
    }

    proptest! {
        #[test]
        fn a_file_gives_a_reference_with_the_same_bins(
            values in prop::collection::vec(any::<f32>(), 100..150),
        ) {
            let stats: Vec<_> = values.iter().map(|v| InputStats::of_f32(&[*v])).collect();
            let samples: Vec<_> = stats.iter().map(|s| (s.clone(), smallvec![3])).collect();
            let reference = Reference::learn(&samples);
            let json = reference.to_json().unwrap();
            let read = Reference::from_json(json.as_bytes()).unwrap();
            prop_assert_eq!(read.counts(), reference.counts());
            let bins = |r: &Reference| stats.iter().map(|s| r.bins(s)).collect::<Vec<_>>();
            prop_assert_eq!(bins(&read), bins(&reference));
        }
    }
}
