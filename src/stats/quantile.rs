//! Latencies in buckets, and what their quantiles may be.
//!
//! An interval for a quantile needs no assumption about the distribution: at the true quantile
//! the share at or below it is known, so a bucket's edge is beyond the quantile if the share below
//! it is proven to be too great (Howard, Ramdas 2022, section 3).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Counts;

/// Each 4 % wide, from 1 µs to 1000 s; what is beyond goes into the first and the last.
pub(super) const BUCKETS: usize = 528;

const FIRST: f64 = 1e-6;

/// ln(1e9) / BUCKETS.
const LN_WIDTH: f64 = 20.723_265_836_946_41 / BUCKETS as f64;

/// How many latencies fell into each bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>")]
pub struct LatencyHistogram(Vec<u64>);

impl Default for LatencyHistogram {
    fn default() -> Self {
        LatencyHistogram(vec![0; BUCKETS])
    }
}

impl From<Vec<u64>> for LatencyHistogram {
    fn from(mut buckets: Vec<u64>) -> Self {
        buckets.resize(BUCKETS, 0);
        LatencyHistogram(buckets)
    }
}

impl LatencyHistogram {
    /// One more.
    pub fn record(&mut self, latency: Duration) {
        if let Some(bucket) = self.0.get_mut(bucket(latency)) {
            *bucket += 1;
        }
    }

    /// So many more.
    pub fn record_many(&mut self, latency: Duration, count: u64) {
        if let Some(bucket) = self.0.get_mut(bucket(latency)) {
            *bucket += count;
        }
    }

    /// Both together.
    pub fn merge(&mut self, other: &LatencyHistogram) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a += b);
    }

    /// What came since `older`.
    #[must_use]
    pub fn minus(&self, older: &LatencyHistogram) -> LatencyHistogram {
        let pairs = self.0.iter().zip(&older.0);
        LatencyHistogram(pairs.map(|(a, b)| a.saturating_sub(*b)).collect())
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The `q`-quantile in seconds, at most half a bucket off.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let n = self.count();
        let rank = (q.clamp(0.0, 1.0) * n as f64).clamp(0.5, (n as f64 - 0.5).max(0.5));
        let mut below = 0;
        for (i, count) in self.0.iter().enumerate().filter(|(_, c)| **c > 0) {
            if (below + count) as f64 >= rank {
                let within = (rank - below as f64) / *count as f64;
                return Some(FIRST * ((i as f64 + within) * LN_WIDTH).exp());
            }
            below += count;
        }
        None
    }

    /// Those surely above `seconds`: what shares its bucket is not counted.
    pub fn above(&self, seconds: f64) -> Counts {
        // A hair of tolerance, so that an edge that was computed is that edge.
        let first = ((seconds / FIRST).ln() / LN_WIDTH - 1e-9).ceil().clamp(1.0, BUCKETS as f64);
        let above = if seconds <= 0.0 { &self.0[..] } else { self.from(first as usize) };
        Counts { n: self.count(), k: above.iter().sum() }
    }

    /// The share above `seconds`.
    pub fn fraction_above(&self, seconds: f64) -> Option<f64> {
        self.above(seconds).rate()
    }

    /// Upper confidence bound of the `q`-quantile in seconds, at all times together with a chance
    /// of `1 - alpha`; none while there are too few latencies for any.
    pub fn quantile_upper(&self, q: f64, alpha: f64) -> Option<f64> {
        let n = self.count();
        let below = self.below();
        let first = below.partition_point(|k| Counts { n, k: *k }.p_above(q) > alpha);
        // What is beyond the last bucket's beginning has no bound.
        (first < BUCKETS).then(|| edge(first))
    }

    /// Running counts of those below each edge, the first edge (below it there is nothing) first.
    pub(super) fn below(&self) -> Vec<u64> {
        let sum = |total: &mut u64, count: &u64| {
            *total += count;
            Some(*total)
        };
        std::iter::once(0).chain(self.0.iter().scan(0, sum)).collect()
    }

    fn from(&self, first: usize) -> &[u64] {
        self.0.get(first..).unwrap_or_default()
    }
}

/// A histogram that threads record into without a lock.
#[derive(Debug)]
pub struct AtomicLatency(Box<[AtomicU64]>);

impl Default for AtomicLatency {
    fn default() -> Self {
        AtomicLatency((0..BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl AtomicLatency {
    /// One more.
    pub fn record(&self, latency: Duration) {
        if let Some(bucket) = self.0.get(bucket(latency)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was recorded; of what is recorded meanwhile, some.
    pub fn read(&self) -> LatencyHistogram {
        LatencyHistogram(self.0.iter().map(|b| b.load(Ordering::Relaxed)).collect())
    }
}

/// Where bucket `i` begins, in seconds.
pub(super) fn edge(i: usize) -> f64 {
    FIRST * (i as f64 * LN_WIDTH).exp()
}

fn bucket(latency: Duration) -> usize {
    let i = (latency.as_secs_f64() / FIRST).ln() / LN_WIDTH;
    // Negative ones, also of zero, become 0 by the cast.
    (i as usize).min(BUCKETS - 1)
}

#[cfg(test)]
#[path = "quantile_tests.rs"]
mod tests;
