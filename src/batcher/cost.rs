//! What a batch costs, learnt on line: `exec(b) = fixed + row * b`. Pure.
//!
//! Each size of batch keeps a mean of its own, and the line is fitted through the means. So a size that is
//! rarely run is not forgotten while another one is run all the time, and the slope stays known at low load,
//! where nearly all batches have one row.

use std::time::Duration;

/// Batches up to so many rows have a mean for each size; larger ones share eight an octave.
const EXACT: usize = 16;
/// A sample's part in the mean of its size, once there are enough.
const GAIN: f64 = 0.05;
/// Samples further from the mean than so many mean deviations count as if they were that far: a thread that
/// lost its core once is no news, one that keeps losing it is, since the deviation grows with each.
const CLIP: f64 = 4.0;
/// What is left of a mean's weight after each sample of another size: half of it after 400.
const FADE: f64 = 0.998_268_6;
/// What a mean counts at least, however old.
const STALE: f64 = 0.02;
/// What the assumption counts that a row and the fixed part cost the same, which holds while only one size
/// was seen.
const PRIOR: f64 = 0.001;
/// Samples of a size until it is held against others, and what must be left of its weight: after some 1,700
/// samples of others it is no evidence any more, and is tried again.
const KNOWN: u64 = 3;
const FRESH: f64 = 0.05;
/// A row must cost so much more in a larger batch for that to be no noise.
const DEARER: f64 = 1.15;
/// The least part of a row's mean cost that is taken to be its own: the rule divides by it.
const LEAST_ROW: f64 = 1e-3;

/// The line: seconds of a batch, whatever its size, and seconds of each of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Curve {
    /// Seconds a batch costs before its first row.
    pub fixed: f64,
    /// Seconds each row adds.
    pub row: f64,
}

impl Curve {
    /// Seconds of a batch.
    pub fn exec(&self, rows: usize) -> f64 {
        self.fixed + self.row * rows as f64
    }

    /// Seconds a row costs in batches of `full` rows: what it takes of the capacity.
    pub fn share(&self, full: usize) -> f64 {
        self.row + self.fixed / full.max(1) as f64
    }

    /// The most rows that are computed within `seconds`; 0 if not even one is.
    pub fn rows_within(&self, seconds: f64) -> usize {
        let rows = (seconds - self.fixed) / self.row;
        if rows.is_nan() { usize::MAX } else { rows.max(0.0) as usize }
    }
}

/// Learns a [`Curve`].
#[derive(Clone, Debug, Default)]
pub struct Cost {
    sizes: Vec<Size>,
    /// Samples, of which older ones have faded.
    lately: f64,
    curve: Curve,
}

/// What is known of batches of about one size.
#[derive(Clone, Debug)]
struct Size {
    class: usize,
    rows: f64,
    seconds: f64,
    deviation: f64,
    count: u64,
    /// Its own part of the samples, counted in the same way, as of its last one.
    lately: f64,
    /// What has faded since then: 1 as long as no other size was run.
    fresh: f64,
}

impl Cost {
    /// The line, if anything was learnt.
    pub fn curve(&self) -> Option<Curve> {
        (!self.sizes.is_empty()).then_some(self.curve)
    }

    /// What is taken over from another shape: a first guess, which the first batches correct.
    pub fn guess(&self) -> Cost {
        let mut guess = self.clone();
        for size in &mut guess.sizes {
            size.count = 1;
            size.deviation = size.seconds / 4.0;
        }
        guess
    }

    /// Rows beyond which a row costs more than in smaller batches, as it does where a batch no longer fits in a
    /// cache: no line tells that. None, as long as no larger size was seen to be dearer.
    pub fn pays_up_to(&self) -> Option<usize> {
        let known = || self.sizes.iter().filter(|s| s.count >= KNOWN && s.fresh > FRESH);
        let best = known().min_by(|a, b| a.per_row().total_cmp(&b.per_row()))?;
        let dearer = |s: &Size| s.rows > best.rows && s.per_row() > DEARER * best.per_row();
        known().any(dearer).then_some(best.rows.round() as usize)
    }

    /// A batch ran. Called for each, with the scheduler's lock held: a few multiplications a size.
    pub fn learn(&mut self, rows: usize, took: Duration) {
        let took = took.as_secs_f64().max(1e-9);
        let class = class(rows);
        self.lately = self.lately * FADE + 1.0;
        // Far above the numbers that processors are slow with.
        self.sizes.iter_mut().for_each(|s| s.fresh = (s.fresh * FADE).max(1e-9));
        match self.sizes.iter_mut().find(|s| s.class == class) {
            Some(size) => {
                let before = size.seconds;
                size.learn(rows as f64, took);
                let (change, part) = (size.seconds / before, size.lately / self.lately);
                self.follow(change, part);
            }
            None => self.sizes.push(Size {
                class,
                rows: rows as f64,
                seconds: took,
                deviation: took / 4.0,
                count: 1,
                lately: 1.0,
                fresh: 1.0,
            }),
        }
        self.curve = self.fit();
    }

    /// A machine that got slower got so for all sizes, also for those that it does not run at present. They
    /// take part in the change of each that it does run, by how large a part of the batches that one is.
    fn follow(&mut self, change: f64, part: f64) {
        for size in &mut self.sizes {
            size.seconds *= 1.0 + (change - 1.0) * part * (1.0 - size.fresh);
        }
    }

    /// Least squares of relative errors, each size by how well and how lately it is known.
    fn fit(&self) -> Curve {
        let (mut n, mut x, mut xx, mut y, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for size in &self.sizes {
            let known = size.count.min(20) as f64 * size.fresh.max(STALE);
            let weight = known / (size.seconds * size.seconds);
            n += weight;
            x += weight * size.rows;
            xx += weight * size.rows * size.rows;
            y += weight * size.seconds;
            xy += weight * size.rows * size.seconds;
        }
        // A penalty on (fixed - row)², in the same measure.
        let prior = PRIOR * n;
        let (n1, x1, xx1) = (n + prior, x - prior, xx + prior);
        let det = n1 * xx1 - x1 * x1;
        let fixed = (y * xx1 - x1 * xy) / det;
        let row = (n1 * xy - x1 * y) / det;
        if row <= LEAST_ROW * y / x {
            let row = LEAST_ROW * y / x;
            return Curve { row, fixed: ((y - row * x) / n).max(0.0) };
        }
        if fixed < 0.0 { Curve { fixed: 0.0, row: xy / xx } } else { Curve { fixed, row } }
    }
}

impl Size {
    fn per_row(&self) -> f64 {
        self.seconds / self.rows
    }

    fn learn(&mut self, rows: f64, took: f64) {
        self.count += 1;
        self.lately = self.lately * self.fresh + 1.0;
        self.fresh = 1.0;
        let gain = gain(self.count);
        let far = CLIP * self.deviation.max(0.02 * self.seconds);
        let off = (took - self.seconds).clamp(-far, far);
        self.rows += gain * (rows - self.rows);
        self.seconds += gain * off;
        self.deviation += gain * (off.abs() - self.deviation);
    }
}

/// The part of the last one of so many samples in their mean.
pub(super) fn gain(samples: u64) -> f64 {
    GAIN.max(1.0 / samples as f64)
}

fn class(rows: usize) -> usize {
    if rows <= EXACT {
        return rows;
    }
    EXACT + ((rows as f64 / EXACT as f64).log2() * 8.0) as usize
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;
