//! How the mirror fares, for the admin API and the metrics.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::SourceError;
use super::key::Key;
use crate::telemetry::source::SourceMetrics;

/// Shared between the mirror's thread and who asks.
pub struct Standing {
    url: String,
    started: Instant,
    metrics: SourceMetrics,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_good: Option<Instant>,
    error: Option<String>,
    failing: Vec<Failing>,
    models: usize,
}

/// A file that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Its path in the source.
    pub file: String,
    /// The label under which it is counted.
    pub reason: &'static str,
    /// What was expected, and what came.
    pub message: String,
}

/// How it fares at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingView {
    /// The source.
    pub url: String,
    /// Since it was last read well; `None`: not since the start.
    pub last_good: Option<Duration>,
    /// Why it can't be read.
    pub error: Option<String>,
    /// What of it can't be had.
    pub failing: Vec<Failing>,
    /// Models that are mirrored.
    pub models: usize,
}

impl Failing {
    pub(super) fn new(key: &Key, error: &SourceError) -> Failing {
        Failing { file: key.to_string(), reason: error.reason(), message: error.to_string() }
    }
}

impl Standing {
    pub(super) fn new(url: String, models: usize, metrics: SourceMetrics) -> Standing {
        let state = State { models, ..State::default() };
        Standing { url, started: Instant::now(), metrics, state: Mutex::new(state) }
    }

    /// The source was read, and `failing` could not be had of it.
    pub(super) fn good(&self, models: usize, failing: Vec<Failing>) {
        *self.lock() = State { last_good: Some(Instant::now()), error: None, failing, models };
    }

    /// The source can't be read.
    pub(super) fn bad(&self, error: &SourceError) {
        self.lock().error = Some(error.to_string());
    }

    /// Since the last good look, or since the start.
    pub(super) fn age(&self) -> Duration {
        self.lock().last_good.unwrap_or(self.started).elapsed()
    }

    /// Brings the metric of its age up to date, which is a matter of when it is scraped.
    pub fn measure(&self) {
        self.metrics.aged(self.age());
    }

    /// How it fares now.
    pub fn view(&self) -> StandingView {
        let State { last_good, error, failing, models } = &*self.lock();
        StandingView {
            url: self.url.clone(),
            last_good: last_good.map(|at| at.elapsed()),
            error: error.clone(),
            failing: failing.clone(),
            models: *models,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
