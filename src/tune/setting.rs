//! What can be set, and what came of it.

use std::fmt;
use std::time::Duration;

use crate::batcher::Rule;
use crate::engine::Precision;

/// Everything that is tuned.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The engine's name.
    pub engine: &'static str,
    /// What it computes in.
    pub precision: Precision,
    /// Batches that run at once.
    pub instances: usize,
    /// Threads of the engine within each of them.
    pub threads: usize,
    /// How batches are formed.
    pub rule: Rule,
    /// Rows of a batch at most.
    pub max_batch: usize,
    /// How long an idle engine waits for a fuller batch.
    pub delay: Duration,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { engine, precision, instances, threads, rule, max_batch, delay } = self;
        write!(f, "{engine} {precision}, {instances} × {threads} threads, ")?;
        match rule {
            Rule::Tuned => write!(f, "tuned up to {max_batch} rows")?,
            Rule::All => write!(f, "all that waits up to {max_batch} rows")?,
        }
        if !delay.is_zero() {
            write!(f, ", held back {} ms", delay.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// How a setting did at one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Requests that came in a second.
    pub offered: f64,
    /// The share of them that were answered in time.
    pub in_time: f64,
    /// Seconds to the answer, from when the request was due: the median, and the objective's quantile.
    /// Infinite if so many were refused or given up.
    pub p50: f64,
    /// See `p50`.
    pub tail: f64,
}

/// What a setting can do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Requests a second, the most at which the objective was kept; 0 if it never was.
    pub rate: f64,
    /// All rates that were tried, in their order.
    pub points: Vec<Point>,
}
