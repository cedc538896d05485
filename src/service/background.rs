//! What is done after the answer, on threads that give way to every other, and not at all when there is no
//! spare capacity: copies of requests for versions that are tried, and what is kept of predictions. Nothing
//! here can slow or fail an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::observe::Answered;
use super::shadow::Copy;
use crate::batcher::Headroom;
use crate::observe::prediction_log::PredictionLog;
use crate::vision::ImageLimits;

/// Copies that may wait.
const COPIES: usize = 64;
/// Answers of which something is kept that may wait.
const KEPT: usize = 4096;
/// Bytes that may wait on each of the two: beside those that requests under way may hold.
const BYTES: usize = 64 << 20;

/// The threads that do it: one that pauses while answers are computed, and one that doesn't, since what is
/// kept is cheap and to be kept of busy hours too.
pub struct Background {
    copies: Worker<Copy>,
    kept: Worker<Answered>,
    log: Option<Arc<PredictionLog>>,
}

impl Background {
    /// Starts the threads. Copies are computed in the `headroom`; what is logged goes to `log`.
    pub fn start(
        limits: ImageLimits,
        log: Option<PredictionLog>,
        headroom: Arc<Headroom>,
    ) -> std::io::Result<Background> {
        let log = log.map(Arc::new);
        let to = log.clone();
        let copies = Worker::start("ocelli-shadow", COPIES, move |copy: Copy| {
            if catch_unwind(AssertUnwindSafe(|| copy.run(&limits, &headroom))).is_err() {
                copy.failed("it panicked");
            }
        })?;
        let kept = Worker::start("ocelli-keep", KEPT, move |answered: Answered| {
            let keep = AssertUnwindSafe(|| answered.keep(to.as_deref()));
            if catch_unwind(keep).is_err() {
                tracing::error!("what is kept of an answer panicked");
            }
        })?;
        Ok(Background { copies, kept, log })
    }

    /// The log of predictions, if there is one.
    pub fn log(&self) -> Option<&PredictionLog> {
        self.log.as_deref()
    }

    /// Computes a copy some time, or drops it.
    pub fn copy(&self, copy: Copy) {
        let version = copy.version.clone();
        if !self.copies.submit(copy.bytes(), copy) {
            version.queue.target().metrics.arm.shadow_shed();
        }
    }

    /// Keeps something of a prediction some time, or not. Tells whether it will.
    pub fn keep(&self, answered: Answered) -> bool {
        self.kept.submit(answered.seen.bytes(), answered)
    }
}

/// A thread of the lowest priority with a bounded queue.
struct Worker<T> {
    queue: Option<SyncSender<(usize, T)>>,
    held: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    fn start(
        name: &str,
        waiting: usize,
        work: impl Fn(T) + Send + 'static,
    ) -> std::io::Result<Worker<T>> {
        let (queue, todo): (_, Receiver<(usize, T)>) = sync_channel(waiting);
        let held = Arc::new(AtomicUsize::new(0));
        let holds = held.clone();
        let run = move || {
            give_way();
            while let Ok((size, item)) = todo.recv() {
                work(item);
                holds.fetch_sub(size, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Worker { queue: Some(queue), held, thread: Some(thread) })
    }

    fn submit(&self, size: usize, item: T) -> bool {
        let held = self.held.fetch_add(size, Ordering::Relaxed);
        let fits = held + size <= BYTES;
        let sent = fits && self.queue.as_ref().is_some_and(|q| q.try_send((size, item)).is_ok());
        if !sent {
            self.held.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("a background thread panicked");
        }
    }
}

/// Takes the time that nobody else wants.
fn give_way() {
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "can't lower the priority of what is done after answers");
    }
}
