//! A piece of queued work and the answer to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::core::{Priority, Work};
use crate::engine::{BatchMode, EngineError, Model};
use crate::error::InferError;
use crate::telemetry::metrics::VersionMetrics;
use crate::tensor::Tensor;

/// What a queue's batches run on.
pub struct Target {
    /// The model's name.
    pub name: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The engine's name.
    pub engine: &'static str,
    /// What runs.
    pub model: Arc<dyn Model>,
    /// Where it is counted.
    pub metrics: Arc<VersionMetrics>,
}

/// The rows of one piece of work, computed.
#[derive(Debug)]
pub struct Reply {
    /// In the signature's order. Slices of the batch's outputs.
    pub outputs: Vec<Tensor>,
    /// From queued to computed.
    pub queued: Duration,
    /// The engine's run.
    pub compute: Duration,
}

pub(super) struct Job {
    pub target: Arc<Target>,
    pub inputs: Vec<Tensor>,
    pub rows: usize,
    pub enqueued: Instant,
    /// When its request was there.
    pub since: Instant,
    pub deadline: Instant,
    pub timeout: Duration,
    pub priority: Priority,
    pub reply: oneshot::Sender<Result<Reply, InferError>>,
}

impl Work for Job {
    fn rows(&self) -> usize {
        self.rows
    }

    fn enqueued(&self) -> Instant {
        self.enqueued
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Job {
    /// Answers work that died waiting.
    pub fn bury(self) {
        if self.reply.is_closed() {
            self.target.metrics.abandoned();
            return;
        }
        let now = Instant::now();
        let error = if self.deadline <= now {
            self.target.metrics.expired();
            self.target.late(self.timeout)
        } else {
            // What is dropped before its deadline would have missed the objective.
            self.target.metrics.rejected("slo");
            let here = now.saturating_duration_since(self.since);
            self.target.too_late(here, "its model's objective", Duration::from_secs(1))
        };
        self.answer(Err(error));
    }

    /// The caller may be gone by now; then the answer is nobody's.
    pub fn answer(self, answer: Result<Reply, InferError>) {
        drop(self.reply.send(answer));
    }
}

impl Target {
    /// The error of a run that failed.
    pub(super) fn failed(&self, source: EngineError) -> InferError {
        InferError::Engine { model: self.name.to_string(), version: self.version, source }
    }

    /// The error of a request that ran out of time.
    pub fn late(&self, timeout: Duration) -> InferError {
        let (model, version) = (self.name.to_string(), self.version);
        InferError::DeadlineExceeded { model, version, timeout }
    }

    /// The error of a request that would not be answered in time.
    pub(super) fn too_late(
        &self,
        takes: Duration,
        misses: &'static str,
        retry_after: Duration,
    ) -> InferError {
        let (model, version) = (self.name.to_string(), self.version);
        InferError::TooLate { model, version, takes, misses, retry_after }
    }

    /// Rows a piece of work may have at most: more are split and rejoined.
    pub fn split_at(&self, max_batch: usize) -> usize {
        match self.model.signature().batch_mode {
            BatchMode::Rows => max_batch,
            BatchMode::Fixed(n) => n,
            BatchMode::Whole => usize::MAX,
        }
    }
}

/// The answers to the parts of a request, as one.
pub(super) fn rejoin(mut parts: Vec<Reply>) -> Result<Reply, InferError> {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    let outputs = parts.first().map_or(0, |p| p.outputs.len());
    let outputs = (0..outputs)
        .map(|i| {
            let rows: Vec<_> = parts.iter().map(|p| p.outputs[i].clone()).collect();
            Tensor::concat_rows(&rows).ok_or_else(|| {
                InferError::Internal(format!("output {i} changed its shape between batches"))
            })
        })
        .collect::<Result<_, _>>()?;
    let queued = parts.iter().map(|p| p.queued).max().unwrap_or_default();
    Ok(Reply { outputs, queued, compute: parts.iter().map(|p| p.compute).sum() })
}
