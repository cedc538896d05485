//! Means of rewards, and the difference of two: asymptotic, always valid.
//!
//! The t statistic with a normal mixture over effects: for large samples the asymptotic
//! confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024 (theorem 2.2), for
//! small ones wider, as the t-test of Wang, Ramdas 2023 is. Two arms use Welch's degrees of
//! freedom. Rewards that are mostly 0 and rarely huge need far more than the minimum until the
//! normal limit holds; count such as shares where possible.

use serde::{Deserialize, Serialize};

use super::normal::{MIN_ARM, gain_needed, ln_e_t, precision_one, precision_two, t_needed};
use super::{Contrast, Interval, p_of};

/// What is kept of rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many.
    pub n: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_sq: f64,
}

impl Moments {
    /// One more; one that is not finite would spoil all others and is dropped.
    pub fn record(&mut self, reward: f64) {
        if reward.is_finite() {
            self.n += 1;
            self.sum += reward;
            self.sum_sq += reward * reward;
        }
    }

    /// Both together.
    pub fn merge(self, other: Moments) -> Moments {
        let (sum, sum_sq) = (self.sum + other.sum, self.sum_sq + other.sum_sq);
        Moments { n: self.n + other.n, sum, sum_sq }
    }

    /// What came since `older`.
    pub fn minus(self, older: Moments) -> Moments {
        let (sum, sum_sq) = (self.sum - older.sum, self.sum_sq - older.sum_sq);
        Moments { n: self.n.saturating_sub(older.n), sum, sum_sq: sum_sq.max(0.0) }
    }

    /// The mean.
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// The sample variance; none where it is zero up to rounding, as then there is no scale to
    /// judge anything by.
    pub fn variance(self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.n > 1)?;
        let square = self.sum_sq / self.n as f64;
        let variance = square - mean * mean;
        let real = variance > square * 1e-13;
        real.then(|| variance * self.n as f64 / (self.n - 1) as f64)
    }

    /// Always valid p-value of "the mean is `mu`".
    pub fn p_value(self, mu: f64) -> f64 {
        let (Some(s), Some(mean)) = (self.scale(), self.mean()) else { return 1.0 };
        p_of(ln_e_t((mean - mu) / s.error, s.df, s.precision))
    }

    /// Always valid p-value of "the mean is at least `mu`": small if it is proven to be below.
    pub fn p_below(self, mu: f64) -> f64 {
        if self.mean().is_some_and(|m| m < mu) { self.p_value(mu) } else { 1.0 }
    }

    /// Always valid interval; none while there are too few rewards.
    pub fn interval(self, alpha: f64) -> Option<Interval> {
        self.scale()?.interval(self.mean()?, alpha)
    }

    fn scale(self) -> Option<Scale> {
        let variance = self.variance().filter(|_| self.n >= MIN_ARM)?;
        let (n, precision) = (self.n as f64, precision_one(self.n));
        Some(Scale { error: (variance / n).sqrt(), df: n - 1.0, precision })
    }
}

/// By what a distance is judged.
struct Scale {
    error: f64,
    df: f64,
    precision: f64,
}

impl Scale {
    fn interval(&self, mean: f64, alpha: f64) -> Option<Interval> {
        let half = self.error * t_needed(self.df, self.precision, alpha);
        half.is_finite().then_some([mean - half, mean + half])
    }
}

/// A candidate's mean minus a baseline's.
#[derive(Clone, Copy, Debug)]
pub struct MeanDifference {
    candidate: Moments,
    baseline: Moments,
}

impl MeanDifference {
    /// Of two arms that ran at the same time.
    pub fn new(candidate: Moments, baseline: Moments) -> MeanDifference {
        MeanDifference { candidate, baseline }
    }

    /// Squared standard errors of the arms. One may be constant, not both.
    fn errors(&self) -> Option<[f64; 2]> {
        let of = |m: Moments| m.variance().unwrap_or(0.0) / m.n as f64;
        let enough = self.candidate.n.min(self.baseline.n) >= MIN_ARM;
        let errors = [of(self.candidate), of(self.baseline)];
        (enough && errors[0] + errors[1] > 0.0).then_some(errors)
    }

    fn scale(&self) -> Option<Scale> {
        let [a, b] = self.errors()?;
        let (na, nb) = (self.candidate.n, self.baseline.n);
        let df = (a + b).powi(2) / (a * a / (na - 1) as f64 + b * b / (nb - 1) as f64);
        Some(Scale { error: (a + b).sqrt(), df, precision: precision_two(na, nb) })
    }
}

impl Contrast for MeanDifference {
    fn estimate(&self) -> Option<f64> {
        Some(self.candidate.mean()? - self.baseline.mean()?)
    }

    fn p_value(&self, delta: f64) -> f64 {
        let (Some(s), Some(seen)) = (self.scale(), self.estimate()) else { return 1.0 };
        p_of(ln_e_t((seen - delta) / s.error, s.df, s.precision))
    }

    fn interval(&self, alpha: f64) -> Option<Interval> {
        self.scale()?.interval(self.estimate()?, alpha)
    }

    fn projected(&self, factor: f64, alpha: f64) -> Option<f64> {
        let s = self.scale()?;
        Some(s.error * (2.0 * gain_needed(s.precision * factor, alpha) / factor).sqrt())
    }
}

#[cfg(test)]
#[path = "mean_tests.rs"]
mod tests;
