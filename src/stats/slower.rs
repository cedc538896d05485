//! Is a quantile of an arm's latencies too great? Exact and always valid, for any distribution.
//!
//! Against a fixed limit: the share above it exceeds `1 - q` (see [`Counts`]). Against `ratio`
//! times another arm's quantile: with half of alpha some edge is proven to be beyond the
//! baseline's quantile (Howard, Ramdas 2022); with the other half the candidate's share above
//! `ratio` times that edge is proven to exceed `1 - q`. If the null holds one of the two proofs is
//! wrong, and each ever is with a chance of `alpha / 2`, whichever edge is taken, as at the true
//! quantile's edge both would only be weaker.

use serde::Serialize;

use super::quantile::{BUCKETS, edge};
use super::{Counts, LatencyHistogram};

/// How strongly the data speak for a candidate that is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SlowerEvidence {
    /// Always valid p-value of "it is not too slow".
    pub p_value: f64,
    /// The threshold in seconds that says it best; none if the baseline has no bound yet.
    pub threshold: Option<f64>,
    /// The candidate's latencies, and those surely above the threshold.
    pub above: Counts,
    /// The share of them that may be above it.
    pub allowed: f64,
}

/// Whether the `q`-quantile is above `limit` seconds.
pub fn slower_than(candidate: &LatencyHistogram, q: f64, limit: f64) -> SlowerEvidence {
    let (above, allowed) = (candidate.above(limit), 1.0 - q);
    SlowerEvidence { p_value: above.p_above(allowed), threshold: Some(limit), above, allowed }
}

/// Whether the `q`-quantile is above `ratio` times that of `baseline`.
pub fn slower_than_ratio(
    candidate: &LatencyHistogram,
    baseline: &LatencyHistogram,
    q: f64,
    ratio: f64,
) -> SlowerEvidence {
    let allowed = 1.0 - q;
    let below = baseline.below();
    let n = baseline.count();
    let bound = |i: usize| Counts { n, k: below.get(i).copied().unwrap_or(n) }.p_above(q);
    let at = |i: usize| {
        let above = candidate.above(ratio * edge(i));
        let p_value = (2.0 * bound(i).max(above.p_above(allowed))).min(1.0);
        SlowerEvidence { p_value, threshold: Some(ratio * edge(i)), above, allowed }
    };
    // The further out the edge, the surer it bounds the baseline and the less lies above it: the
    // best one is where the two proofs cross. The last edge bounds nothing.
    let (mut low, mut high) = (1, BUCKETS - 1);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        let above = candidate.above(ratio * edge(middle)).p_above(allowed);
        if bound(middle) > above { low = middle } else { high = middle }
    }
    let (near, far) = (at(low), at(high));
    let best = if near.p_value < far.p_value { near } else { far };
    if best.p_value < 1.0 {
        return best;
    }
    // Nothing is proven either way; say what is above the quantile as it looks.
    let threshold = baseline.quantile(q).map(|t| t * ratio);
    let above = threshold.map_or(Counts::new(candidate.count(), 0), |t| candidate.above(t));
    SlowerEvidence { p_value: 1.0, threshold, above, allowed }
}

#[cfg(test)]
#[path = "slower_tests.rs"]
mod tests;
