//! A sample of the predictions as JSON lines in files, for people and for training.
//!
//! The service asks [`PredictionLog::wants`] and hands over a [`Record`]; it never waits. A thread
//! of its own writes: [`writer`] batches lines and keeps going when the disk does not, [`files`]
//! rotates, [`sample`] decides. After a kill all files can be read but for a torn last line.

mod files;
mod record;
mod sample;
mod writer;

pub use record::{Input, Record, Scored, Timings};
pub use sample::Sample;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use files::Files;

/// Bytes of inputs that may wait to be written. Records wait in a queue that is counted in records,
/// and those with images are large.
const MAX_QUEUED_INPUT: usize = 64 << 20;

/// How long a log that is dropped waits for what is queued.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is logged, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the files are. No other process may log there: each deletes the oldest files.
    pub dir: PathBuf,
    /// Share of the predictions, 0 to 1.
    pub sample: f64,
    /// Bytes of a file at most; a line that is longer is dropped.
    pub max_bytes: u64,
    /// Files at most.
    pub max_files: usize,
    /// Log what was sent, too.
    pub inputs: bool,
    /// Records that may wait to be written.
    pub queue: usize,
}

/// Why a log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No share.
    #[error("sample is {0}, expected 0 to 1")]
    Sample(f64),
    /// A limit that allows nothing.
    #[error("{0} is 0, expected at least 1")]
    Zero(&'static str),
    /// No directory to write to.
    #[error("the directory {} of the prediction log can't be made: {error}", dir.display())]
    Directory {
        /// What is missing.
        dir: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// No thread to write with.
    #[error("the thread of the prediction log can't be started: {0}")]
    Thread(std::io::Error),
}

/// What became of records since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// In a file.
    pub written: AtomicU64,
    /// Dropped: the queue was full, or the line longer than a file may be.
    pub dropped: AtomicU64,
    /// Lost: they could not be written.
    pub failed: AtomicU64,
    /// Bytes of inputs in the queue.
    queued_input: AtomicUsize,
}

/// The log of a server.
pub struct PredictionLog {
    sample: Sample,
    inputs: bool,
    max_bytes: u64,
    /// None when stopped.
    queue: RwLock<Option<SyncSender<Box<Record>>>>,
    counters: Arc<Counters>,
    /// Closed when the writer is done.
    done: Mutex<Receiver<()>>,
}

impl PredictionLog {
    /// Makes the directory and starts the writer.
    pub fn start(settings: Settings) -> Result<PredictionLog, LogError> {
        let Settings { dir, sample, max_bytes, max_files, inputs, queue } = settings;
        let sample = Sample::new(sample).ok_or(LogError::Sample(sample))?;
        let limits =
            [("max_bytes", max_bytes), ("max_files", max_files as u64), ("queue", queue as u64)];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(LogError::Zero(name));
        }
        if let Err(error) = std::fs::create_dir_all(&dir) {
            return Err(LogError::Directory { dir, error });
        }
        let (sender, receiver) = sync_channel(queue);
        let (done_sender, done) = channel();
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let files = Files::new(dir, max_bytes, max_files);
        let run = move || {
            writer::run(&receiver, files, &shared);
            drop(done_sender);
        };
        let thread = std::thread::Builder::new().name("ocelli-predictions".to_owned());
        thread.spawn(run).map_err(LogError::Thread)?;
        let queue = RwLock::new(Some(sender));
        Ok(PredictionLog { sample, inputs, max_bytes, queue, counters, done: Mutex::new(done) })
    }

    /// Whether a prediction belongs to the sample. Ask before making a record of it.
    pub fn wants(&self, request_id: &str) -> bool {
        self.sample.takes(request_id)
    }

    /// Whether records should have inputs.
    pub fn wants_inputs(&self) -> bool {
        self.inputs
    }

    /// Queues a record, sampled or not. Never waits: if there is no room it is dropped and counted.
    pub fn record(&self, mut record: Record) {
        if !self.inputs {
            record.inputs.clear();
        }
        let bytes = record.input_bytes();
        let queued = &self.counters.queued_input;
        let room = queued.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_QUEUED_INPUT;
        // As base64 it is longer by a third; it should not wait only to be dropped then.
        let fits = room && bytes as u64 / 3 * 4 <= self.max_bytes;
        // It is locked for writing only while the log is being stopped.
        let queue = self.queue.try_read().ok().filter(|_| fits);
        let sent = queue.as_ref().and_then(|q| q.as_ref()).map(|q| q.try_send(Box::new(record)));
        if !matches!(sent, Some(Ok(()))) {
            queued.fetch_sub(bytes, Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of records so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Takes no more records and waits until those that are queued are written, or for `patience`.
    /// Says whether they are.
    pub fn stop(&self, patience: Duration) -> bool {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Drop for PredictionLog {
    fn drop(&mut self) {
        self.stop(PATIENCE);
    }
}

#[cfg(test)]
mod tests;
