//! One share of successes: an exact, always valid test and interval.
//!
//! Beta-binomial mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021, section 3.2 and
//! appendix on conjugate mixtures): `e(p) = ∫ L(θ) Beta(θ; ½, ½) dθ / L(p)` is a martingale
//! started at 1 if `p` is the truth, for any sample size and any `p`.

use libm::lgamma;
use serde::{Deserialize, Serialize};

use super::{Interval, boundary, p_of};

/// Trials, and those that were successes (or errors, or whatever is counted).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub n: u64,
    /// Those that count; no more than `n`.
    pub k: u64,
}

/// Jeffreys' prior: as good for shares near 0 and 1 as for those in the middle.
const PRIOR: f64 = 0.5;

/// What the prior around a given limit is worth in trials.
const WORTH: f64 = 100.0;

impl Counts {
    /// `k` of `n`.
    pub fn new(n: u64, k: u64) -> Counts {
        Counts { n, k: k.min(n) }
    }

    /// One more.
    pub fn record(&mut self, success: bool) {
        self.n += 1;
        self.k += u64::from(success);
    }

    /// Both together.
    pub fn merge(self, other: Counts) -> Counts {
        Counts { n: self.n + other.n, k: self.k + other.k }
    }

    /// What came since `older`.
    pub fn minus(self, older: Counts) -> Counts {
        Counts::new(self.n.saturating_sub(older.n), self.k.saturating_sub(older.k))
    }

    /// The same trials with the other outcome counted.
    pub fn flip(self) -> Counts {
        Counts { n: self.n, k: self.n.saturating_sub(self.k) }
    }

    /// The share.
    pub fn rate(self) -> Option<f64> {
        (self.n > 0).then(|| self.k.min(self.n) as f64 / self.n as f64)
    }

    /// Log likelihood of a share `p`.
    pub(super) fn ln_likelihood(self, p: f64) -> f64 {
        let of = |count: u64, p: f64| if count == 0 { 0.0 } else { count as f64 * p.ln() };
        let misses = self.flip().k;
        let missed = if misses == 0 { 0.0 } else { misses as f64 * (-p).ln_1p() };
        of(self.k, p) + missed
    }

    /// Log likelihood of the share seen, the greatest there is.
    pub(super) fn ln_best(self) -> f64 {
        self.rate().map_or(0.0, |p| self.ln_likelihood(p))
    }

    /// Log of the likelihood averaged over the prior.
    pub(super) fn ln_mixture(self) -> f64 {
        self.ln_mixture_over(PRIOR, PRIOR)
    }

    fn ln_mixture_over(self, a: f64, b: f64) -> f64 {
        let (k, misses) = (self.k as f64, self.flip().k as f64);
        ln_beta(k + a, misses + b) - ln_beta(a, b)
    }

    /// Log of the e-value against the share being `p`.
    pub fn ln_e(self, p: f64) -> f64 {
        self.ln_mixture() - self.ln_likelihood(p)
    }

    /// Log of the e-value against the share being at most `p`. The least of all those against a
    /// single share, so it wins nothing under any of them (universal inference, section 8).
    ///
    /// As the limit is given, half of the stake goes to a prior around it, which finds a small
    /// excess sooner; Jeffreys' finds a gross one.
    pub fn ln_e_above(self, p: f64) -> f64 {
        let wide = self.ln_mixture();
        let mixture = if p > 0.0 && p < 1.0 {
            let near = self.ln_mixture_over(WORTH * p, WORTH * (1.0 - p));
            let (more, less) = (wide.max(near), wide.min(near));
            more + (less - more).exp().ln_1p() - std::f64::consts::LN_2
        } else {
            wide
        };
        mixture - self.ln_likelihood(self.rate().unwrap_or(p).min(p))
    }

    /// Always valid p-value of "the share is `p`".
    pub fn p_value(self, p: f64) -> f64 {
        p_of(self.ln_e(p))
    }

    /// Always valid p-value of "the share is at most `p`": small if it is proven to be above.
    pub fn p_above(self, p: f64) -> f64 {
        p_of(self.ln_e_above(p))
    }

    /// Always valid p-value of "the share is at least `p`": small if it is proven to be below.
    pub fn p_below(self, p: f64) -> f64 {
        self.flip().p_above(1.0 - p)
    }

    /// All shares that are not rejected at `alpha`: covers the truth at all times together with a
    /// chance of `1 - alpha`. Everything if nothing was seen.
    pub fn interval(self, alpha: f64) -> Interval {
        let Some(seen) = self.rate() else { return [0.0, 1.0] };
        let held = |p: f64| self.ln_e(p) < -alpha.ln();
        let end = |outer: f64| if held(outer) { outer } else { boundary(seen, outer, held) };
        [end(0.0), end(1.0)]
    }
}

fn ln_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

#[cfg(test)]
#[path = "proportion_tests.rs"]
mod tests;
