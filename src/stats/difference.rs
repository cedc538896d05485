//! The difference of two shares, always valid.
//!
//! Two games share `alpha`, so a false alarm of either costs at most `alpha` together:
//!
//! - A tenth goes to one that is exact at any size: both arms' mixture likelihoods over the best
//!   likelihood any two shares `delta` apart reach (universal inference, Wasserman, Ramdas,
//!   Balakrishnan 2020, section 8, with Robbins' mixture for the alternative). The true pair is
//!   among those, and against it the ratio is a martingale. It decides gross cases within
//!   tens of observations, also where all or none are successes.
//! - The rest goes to the normal mixture of the log likelihood ratio (Johari et al. 2022, section
//!   4.2; Waudby-Smith et al. 2024), which is tighter and asymptotic. It plays only once no arm is
//!   thin. The likelihood ratio stands in for their squared z because it stays honest near 0 and 1.

use super::normal::{MIN_ARM, gain_needed, ln_e, precision_two};
use super::{Contrast, Counts, Interval, boundary, p_of};

/// A candidate's share minus a baseline's.
#[derive(Clone, Copy, Debug)]
pub struct ProportionDifference {
    candidate: Counts,
    baseline: Counts,
}

/// The exact game's part of alpha.
const EXACT: f64 = 0.1;

/// Successes and failures to expect in each arm before an asymptotic claim is made.
const EXPECTED: f64 = 5.0;

impl ProportionDifference {
    /// Of two arms that ran at the same time.
    pub fn new(candidate: Counts, baseline: Counts) -> ProportionDifference {
        let tidy = |c: Counts| Counts::new(c.n, c.k);
        ProportionDifference { candidate: tidy(candidate), baseline: tidy(baseline) }
    }

    fn ln_best(&self) -> f64 {
        self.candidate.ln_best() + self.baseline.ln_best()
    }

    /// The greatest log likelihood of two shares that are `delta` apart.
    fn ln_profile(&self, delta: f64) -> f64 {
        let (c, b) = (self.candidate, self.baseline);
        if delta == 0.0 {
            let pooled = c.merge(b);
            return pooled.ln_best();
        }
        let (low, high) = ((-delta).max(0.0), (1.0 - delta).min(1.0));
        let slope = |p: f64| slope(b, p) + slope(c, p + delta);
        // Concave in the baseline's share: its slope falls.
        let top = boundary(low, high, |p| slope(p) > 0.0).clamp(low, high);
        let at = |p: f64| b.ln_likelihood(p) + c.ln_likelihood((p + delta).clamp(0.0, 1.0));
        at(top).max(at(low)).max(at(high))
    }

    /// How far the data are from any two shares `delta` apart, in log likelihood.
    fn gain(&self, delta: f64) -> f64 {
        if delta.abs() >= 1.0 {
            let edge = self.candidate.ln_likelihood(f64::from(delta > 0.0));
            let gain = self.ln_best() - edge - self.baseline.ln_likelihood(f64::from(delta < 0.0));
            return if delta.abs() > 1.0 { f64::INFINITY } else { gain };
        }
        (self.ln_best() - self.ln_profile(delta)).max(0.0)
    }

    /// What the exact game has lost by not knowing the shares.
    fn regret(&self) -> f64 {
        self.ln_best() - self.candidate.ln_mixture() - self.baseline.ln_mixture()
    }

    fn precision(&self) -> Option<f64> {
        let (c, b) = (self.candidate, self.baseline);
        let share = c.merge(b).rate()?;
        let smaller = c.n.min(b.n);
        let expected = smaller as f64 * share.min(1.0 - share);
        let enough = smaller >= MIN_ARM && expected >= EXPECTED;
        enough.then(|| precision_two(c.n, b.n))
    }
}

impl Contrast for ProportionDifference {
    fn estimate(&self) -> Option<f64> {
        Some(self.candidate.rate()? - self.baseline.rate()?)
    }

    fn p_value(&self, delta: f64) -> f64 {
        let gain = self.gain(delta);
        // It only ever loses to the gain; mostly there is no need to know how much.
        let hopeless = gain <= -EXACT.ln();
        let exact = if hopeless { 1.0 } else { p_of(gain - self.regret()) / EXACT };
        let mixed = self.precision().map_or(1.0, |r| p_of(ln_e(gain, r)) / (1.0 - EXACT));
        exact.min(mixed).min(1.0)
    }

    fn interval(&self, alpha: f64) -> Option<Interval> {
        let seen = self.estimate()?;
        let exact = self.regret() - (EXACT * alpha).ln();
        let mixed = self.precision().map(|r| gain_needed(r, (1.0 - EXACT) * alpha));
        let bound = mixed.map_or(exact, |m| m.min(exact));
        let held = |delta: f64| self.gain(delta) < bound;
        let end = |outer: f64| if held(outer) { outer } else { boundary(seen, outer, held) };
        Some([end(-1.0), end(1.0)])
    }

    fn projected(&self, factor: f64, alpha: f64) -> Option<f64> {
        let spread = |c: Counts| {
            let p = (c.k as f64 + 0.5) / (c.n as f64 + 1.0);
            p * (1.0 - p) / c.n as f64
        };
        let (c, b) = (self.candidate, self.baseline);
        self.estimate()?;
        let r = factor * precision_two(c.n, b.n);
        let gain = gain_needed(r, (1.0 - EXACT) * alpha);
        Some((2.0 * gain * (spread(c) + spread(b)) / factor).sqrt())
    }
}

fn slope(counts: Counts, p: f64) -> f64 {
    let of = |count: u64, p: f64| if count == 0 { 0.0 } else { count as f64 / p.max(1e-300) };
    of(counts.k, p) - of(counts.flip().k, 1.0 - p)
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
