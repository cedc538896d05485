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

/// The most load that counts: what is measured over a short while errs, and near 1 it would mean everything.
const MOST_LOAD: f64 = 0.8;

/// Seconds that a batch costs outside the engine: the scheduler's lock twice, and a thread that is woken.
/// They are not in what a run takes, and matter where a row takes no longer than that. They also keep a curve
/// that has lost its fixed part from having every batch be one row, and so from ever being put right.
const HAND_OVER: f64 = 25e-6;

/// A row more is worth it for the sake of rows to come if it saves each of them this part of its time.
const WORTH: f64 = 0.01;

/// What is known when a thread takes a batch.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Rows that wait.
    pub waiting: usize,
    /// Rows that were taken since a thread last was idle for as long as a row takes.
    pub taken: usize,
    /// Rows under way, with those that were done just now: their callers may soon be back.
    pub under_way: usize,
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
/// `p`, `n` rows are followed by `n * p / (1 - p)` until none wait.
///
/// And the longer no thread was idle, the more rows have suffered from batches that were too small, so that those
/// count too, as long as a row more saves something, and up to an even part for each thread and one more that waits.
/// Callers who wait for their answers come back together: were all of them taken at once, the threads would be idle
/// until then, and were they taken in uneven parts, some would wait for others who came after them.
pub fn rows(curve: Curve, at: Moment) -> usize {
    let most = at.most.max(1);
    let threads = at.threads.max(1);
    let spare = threads as f64 * (1.0 - at.load.clamp(0.0, MOST_LOAD));
    let fixed = curve.fixed.max(HAND_OVER);
    let best = |n: usize| {
        let root = (n as f64 * fixed / (spare * curve.row)).sqrt();
        if root.is_finite() { (root - 1e-9).ceil() as usize } else { most }
    };
    let even = (at.waiting + at.under_way).div_ceil(threads + 1);
    // The b-th row of a batch saves each of them `fixed / (b * (b - 1))`.
    let worth = (0.5 + (0.25 + fixed / (WORTH * curve.row)).sqrt()) as usize;
    let mut rows = best(at.waiting).max(best(at.waiting + at.taken).min(even).min(worth));
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
        let at = Moment { waiting, taken: 0, under_way: 0, threads: 2, idle: 1, load, most: 32 };
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
        let (threads, idle, load) = (4, 4, 0.8);
        let at = Moment { waiting: 8, taken: 0, under_way: 0, threads, idle, load, most: 32 };
        assert_eq!(rows(curve(4.0), at), 2);
        assert_eq!(rows(curve(10.0), at), 10);
        assert_eq!(rows(curve(4.0), Moment { idle: 1, ..at }), 7);
    }

    #[test]
    fn a_long_stretch_of_work_asks_for_larger_batches() {
        let at = Moment {
            waiting: 28,
            taken: 0,
            under_way: 4,
            threads: 1,
            idle: 1,
            load: 0.0,
            most: 32,
        };
        let curve = Curve { fixed: 12.0, row: 4.0 };
        let after = |taken| rows(curve, Moment { taken, ..at });
        assert_eq!([after(0), after(20), after(100), after(100_000)], [10, 12, 16, 16]);
        // An even part bounds no batches whose cost is that of the batch.
        assert_eq!(rows(Curve { fixed: 40.0, ..curve }, at), 17);
    }

    #[test]
    fn nothing_is_joined_for_rows_to_come_that_saves_them_nothing() {
        let part = |fixed| {
            let (waiting, taken, under_way, threads, idle) = (8, 1_000_000, 8, 1, 1);
            let at = Moment { waiting, taken, under_way, threads, idle, load: 0.0, most: 32 };
            rows(Curve { fixed, row: 1.0 }, at)
        };
        // The second row saves half of what a batch costs, the third a sixth of it.
        assert_eq!(
            [part(0.019), part(0.021), part(0.059), part(0.061), part(1.0)],
            [1, 2, 2, 3, 8]
        );
    }

    #[test]
    fn callers_who_come_back_are_taken_in_even_parts() {
        let curve = Curve { fixed: 0.2, row: 1.0 };
        let part = |waiting, under_way, threads| {
            let (taken, idle, load, most) = (10_000, 1, 0.8, 32);
            rows(curve, Moment { waiting, taken, under_way, threads, idle, load, most })
        };
        assert_eq!([part(8, 0, 1), part(4, 4, 1), part(5, 3, 1), part(2, 6, 2)], [4, 4, 4, 3]);
    }
}
