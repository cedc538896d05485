//! Distributions as counts in bins, and how far two of them are apart. Pure.

use serde::{Deserialize, Serialize};

/// Inner bins: each holds a tenth of the reference.
const BINS: usize = 10;

/// Bins that a valid histogram may have; they are numbered by a `u8`.
const MAX_EDGES: usize = 200;

/// What is added to each bin, so that an empty one is rare and not impossible.
const SMOOTHING: f64 = 0.5;

/// Numbers in bins whose edges were learned from them. Beside those between the edges there are one
/// below and one above all that was seen, and one for what is no number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    edges: Vec<f32>,
    counts: Vec<u64>,
}

/// How far a live distribution is from its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Population stability index. A rule of thumb: below 0.1 nothing happened, above 0.25 much.
    pub psi: f64,
    /// Kullback-Leibler divergence of the live from the reference distribution, in nats.
    pub kl: f64,
    /// The `psi` to be expected by chance alone, for as many samples and bins.
    pub noise: f64,
}

impl Histogram {
    /// Of a reference: edges at its deciles.
    pub fn learn(values: &[f32]) -> Histogram {
        let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let mut edges: Vec<f32> =
            (0..=BINS).filter_map(|i| sorted.get(last * i / BINS).copied()).collect();
        edges.dedup();
        let counts = vec![0; inner(&edges) + 3];
        let mut histogram = Histogram { edges, counts };
        for value in values {
            let bin = histogram.bin(*value);
            histogram.counts[usize::from(bin)] += 1;
        }
        histogram
    }

    /// The bin of a value.
    pub fn bin(&self, value: f32) -> u8 {
        let inner = inner(&self.edges);
        let bin = match &self.edges[..] {
            _ if value.is_nan() => inner + 2,
            [] => 1,
            [first, ..] if value < first - slack(*first) => 0,
            [.., last] if value > last + slack(*last) => inner + 1,
            edges => edges.partition_point(|e| *e <= value).clamp(1, inner),
        };
        bin as u8
    }

    /// Counts by bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether it can be worked with; one out of a file may be anything.
    pub(super) fn is_valid(&self) -> bool {
        self.edges.len() <= MAX_EDGES
            && self.edges.iter().all(|e| e.is_finite())
            && self.edges.is_sorted_by(|a, b| a < b)
            && self.counts.len() == inner(&self.edges) + 3
    }
}

/// Bins between edges. A reference that is all the same has one.
fn inner(edges: &[f32]) -> usize {
    edges.len().saturating_sub(1).max(1)
}

/// So much outside is not outside: the CPU of another replica may differ in the last digits.
fn slack(edge: f32) -> f32 {
    edge.abs() * 1e-5
}

/// How far `live` is from `reference`, bin by bin. Both have the same bins.
pub fn distance(reference: &[u64], live: &[u64]) -> Distance {
    // A bin that is empty on both sides says nothing.
    let pairs = || reference.iter().zip(live).filter(|(r, l)| **r + **l > 0);
    let bins = pairs().count() as f64;
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (of_reference, of_live) = (total(reference), total(live));
    let share = |count: u64, of: f64| (count as f64 + SMOOTHING) / (of + SMOOTHING * bins);
    let (mut psi, mut kl) = (0.0, 0.0);
    for (r, l) in pairs() {
        let (r, l) = (share(*r, of_reference), share(*l, of_live));
        psi += (l - r) * (l / r).ln();
        kl += l * (l / r).ln();
    }
    // `psi` is about a chi-square with so many degrees of freedom, scaled.
    let noise = (bins - 1.0).max(0.0) * (1.0 / of_reference.max(1.0) + 1.0 / of_live.max(1.0));
    // Rounding may take the sum below zero.
    Distance { psi: psi.max(0.0), kl: kl.max(0.0), noise }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bins_hold_a_tenth_each_and_the_ends_are_open() {
        let values: Vec<f32> = (0..=1000u16).map(f32::from).collect();
        let h = Histogram::learn(&values);
        assert_eq!(h.counts(), [0, 100, 100, 100, 100, 100, 100, 100, 100, 100, 101, 0, 0]);
        let bins = [-0.1, 0.0, 99.9, 100.0, 1000.0, 1000.1, f32::NAN].map(|v| h.bin(v));
        assert_eq!(bins, [0, 1, 1, 2, 10, 11, 12]);
        assert_eq!((h.bin(f32::NEG_INFINITY), h.bin(f32::INFINITY)), (0, 11));
    }

    #[test]
    fn a_constant_reference_knows_below_and_above() {
        let h = Histogram::learn(&[2.0; 50]);
        assert_eq!(h.counts(), [0, 50, 0, 0]);
        assert_eq!([1.9, 2.0, 2.1, f32::NAN].map(|v| h.bin(v)), [0, 1, 2, 3]);
        assert_eq!([1.99999, 2.00001].map(|v| h.bin(v)), [1, 1]);
        let h = Histogram::learn(&[f32::NAN; 3]);
        assert_eq!((h.counts(), h.bin(0.0)), (&[0, 0, 0, 3][..], 1));
    }

    #[test]
    fn distances_as_by_hand() {
        // Shares with half a count more: 0.25 and 0.75 against 0.75 and 0.25.
        let d = distance(&[0, 1], &[1, 0]);
        assert!((d.psi - 3f64.ln()).abs() < 1e-12, "{d:?}");
        assert!((d.kl - 0.5 * 3f64.ln()).abs() < 1e-12, "{d:?}");
        assert_eq!(d.noise, 2.0);
        let same = distance(&[10, 20, 0], &[10, 20, 0]);
        // Two bins, as nothing was ever in the third.
        assert_eq!((same.psi, same.kl, same.noise), (0.0, 0.0, 2.0 / 30.0));
    }

    /// What `noise` promises, with a generator of its own so that it is always the same.
    #[test]
    fn noise_is_the_mean_psi_of_two_samples_of_the_same() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % 10
        };
        let mut draw = |n: usize| {
            let mut counts = [0; 10];
            (0..n).for_each(|_| counts[random()] += 1);
            counts
        };
        let all: Vec<_> = (0..300).map(|_| distance(&draw(1000), &draw(500))).collect();
        let mean = all.iter().map(|d| d.psi).sum::<f64>() / all.len() as f64;
        assert!((mean / all[0].noise - 1.0).abs() < 0.1, "{mean} {}", all[0].noise);
    }

    #[test]
    fn what_a_file_may_hold_is_checked() {
        let h =
            |edges: &[f32], bins: usize| Histogram { edges: edges.to_vec(), counts: vec![0; bins] };
        assert!(h(&[1.0, 2.0, 3.0], 5).is_valid() && h(&[], 4).is_valid());
        assert!(!h(&[1.0, 2.0, 3.0], 4).is_valid());
        assert!(!h(&[2.0, 1.0], 4).is_valid() && !h(&[1.0, 1.0], 4).is_valid());
        assert!(!h(&[f32::NAN], 4).is_valid());
    }

    proptest! {
        #[test]
        fn every_value_has_a_bin_and_bins_are_in_order(
            reference in prop::collection::vec(any::<f32>(), 0..60),
            a in any::<f32>(), b in any::<f32>(),
        ) {
            let h = Histogram::learn(&reference);
            prop_assert!(h.is_valid());
            prop_assert_eq!(h.counts().iter().sum::<u64>() as usize, reference.len());
            prop_assert!(usize::from(h.bin(a)) < h.counts().len());
            prop_assert!(a.is_nan() || b.is_nan() || (h.bin(a) <= h.bin(b)) || a > b);
        }

        #[test]
        fn distances_are_finite_and_not_negative(
            pairs in prop::collection::vec((0u64..1000, 0u64..1000), 0..60),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let (d, back) = (distance(&a, &b), distance(&b, &a));
            prop_assert!(d.psi.is_finite() && d.psi >= 0.0 && d.kl.is_finite() && d.kl >= 0.0);
            prop_assert!(d.noise.is_finite());
            // PSI is the sum of the KL divergences of both directions.
            prop_assert!((d.psi - d.kl - back.kl).abs() < 1e-9);
        }
    }
}
