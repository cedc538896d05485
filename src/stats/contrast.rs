//! What differences of shares and of means have in common.

use super::Interval;

/// A candidate's figure minus a baseline's, judged at all times together.
pub trait Contrast {
    /// The difference seen, if both arms have data.
    fn estimate(&self) -> Option<f64>;

    /// Always valid p-value of "the difference is `delta`".
    fn p_value(&self, delta: f64) -> f64;

    /// All differences that are not rejected at `alpha`; none as long as nothing can be said.
    fn interval(&self, alpha: f64) -> Option<Interval>;

    /// About the half width the interval would have with `factor` times the data.
    fn projected(&self, factor: f64, alpha: f64) -> Option<f64>;

    /// Always valid p-value of "the difference is at most `delta`". The game against any smaller
    /// difference has won even more, so the one at the edge speaks for all.
    fn p_above(&self, delta: f64) -> f64 {
        if self.estimate().is_some_and(|d| d > delta) { self.p_value(delta) } else { 1.0 }
    }

    /// Always valid p-value of "the difference is at least `delta`".
    fn p_below(&self, delta: f64) -> f64 {
        if self.estimate().is_some_and(|d| d < delta) { self.p_value(delta) } else { 1.0 }
    }
}
