//! How many of the rows that wait make the next batch. Pure.

use serde::Deserialize;

use super::cost::Curve;

/// How a queue forms its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// By what batches cost and what comes in.
    #[default]
    Tuned,
    /// All that waits, up to the largest batch.
    All,
}

impl Rule {
    /// As `model.toml` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Tuned => "tuned",
            Rule::All => "all",
        }
    }
}

/// What is taken of the rows that went before in the same stretch of work.
const PAST: f64 = 0.5;
/// The most load that counts: what is measured over a short while errs, and near 1 it would mean everything.
const MOST_LOAD: f64 = 0.8;

/// Seconds that a batch costs outside the engine: the scheduler's lock twice, and a thread that is woken.
/// They are not in what a run takes, and matter where a row takes no longer than that. They also keep a curve
/// that has lost its fixed part from having every batch be one row, and so from ever being put right.
const HAND_OVER: f64 = 25e-6;

/// What is known when a thread takes a batch.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Rows that wait.
    pub waiting: usize,
    /// Rows that were taken since there last were none.
    pub taken: usize,
    /// Threads that may take this queue's batches.
    pub threads: usize,
    /// Those of them without work, with the one that asks.
    pub idle: usize,
    /// What comes in for all queues, as part of what the threads compute in full batches.
    pub load: f64,
    /// Rows of a batch at most.
    pub most: usize,
}

/// Rows of the next batch, at least one.
///
/// The last of `n` rows waits until `k` threads have done the others in batches of `b`, which takes
/// `n * (row + fixed / b) / k`, and then for its own batch, `fixed + row * b`. The sum is least at
/// `b = sqrt(n * fixed / (k * row))`. What comes in meanwhile waits for the same batches: while the load is
/// `p`, `n` rows are followed by `n * p / (1 - p)` until none wait. And the longer none had the chance to be
/// the only one, the more rows have suffered from batches that were too small, so that those count too.
pub fn rows(curve: Curve, at: Moment) -> usize {
    let most = at.most.max(1);
    let n = at.waiting as f64 + PAST * at.taken as f64;
    let spare = at.threads.max(1) as f64 * (1.0 - at.load.clamp(0.0, MOST_LOAD));
    let fixed = curve.fixed.max(HAND_OVER);
    let root = (n * fixed / (spare * curve.row)).sqrt();
    let mut rows = if root.is_finite() { (root - 1e-9).ceil() as usize } else { most };
    // Threads with nothing to do take a part each, if that saves more time than another batch costs.
    let part = at.waiting.div_ceil(at.idle.max(1));
    let spared = curve.row * rows.min(at.waiting).saturating_sub(part) as f64;
    if spared > fixed {
        rows = rows.min(part);
    }
    rows.clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(fixed: f64, row: f64, waiting: usize, load: f64) -> usize {
        let at = Moment { waiting, taken: 0, threads: 2, idle: 1, load, most: 32 };
        rows(Curve { fixed, row }, at)
    }

    #[test]
    fn a_batch_grows_with_what_waits_with_the_load_and_with_what_a_batch_costs() {
        // sqrt(16 * 4 / 2), sqrt(64 * 4 / 2), and by five times the load's part.
        assert_eq!([batch(4.0, 1.0, 16, 0.0), batch(4.0, 1.0, 64, 0.0)], [6, 12]);
        assert_eq!([batch(4.0, 1.0, 16, 0.8), batch(4.0, 1.0, 16, 3.0)], [13, 13]);
        assert_eq!([batch(0.0, 1.0, 100, 0.5), batch(1.0, 0.001, 100, 0.0)], [1, 32]);
        assert_eq!([batch(4.0, 1.0, 1, 0.0), batch(4.0, 0.0, 5, 0.0)], [2, 32]);
        // Handing a batch over costs as much as five rows of this one.
        assert_eq!([batch(0.0, 5e-6, 32, 0.0), batch(0.0, 5e-3, 32, 0.0)], [9, 1]);
    }

    #[test]
    fn idle_threads_share_what_waits_if_rows_are_dear() {
        let curve = |fixed| Curve { fixed, row: 1.0 };
        let at = Moment { waiting: 8, taken: 1000, threads: 4, idle: 4, load: 0.0, most: 32 };
        assert_eq!(rows(curve(4.0), at), 2);
        assert_eq!(rows(curve(10.0), at), 32);
        assert_eq!(rows(curve(4.0), Moment { idle: 1, ..at }), 23);
    }

    #[test]
    fn a_long_stretch_of_work_asks_for_larger_batches() {
        let at = Moment { waiting: 4, taken: 0, threads: 1, idle: 1, load: 0.0, most: 32 };
        let curve = Curve { fixed: 1.0, row: 4.0 };
        let after = |taken| rows(curve, Moment { taken, ..at });
        assert_eq!([after(0), after(100), after(1000), after(100_000)], [1, 4, 12, 32]);
    }
}
