//! The lock around [`Core`](super::core::Core): pushes wake threads, threads take batches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::core::{Core, Limits, Next, Priority, QueueId};
use super::headroom::Headroom;
use super::job::{Job, Reply, Target, rejoin};
use super::worker;
use crate::engine::BatchMode;
use crate::error::InferError;
use crate::telemetry::metrics::Metrics;
use crate::tensor::Tensor;

/// Owns the compute threads of the process.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    pub headroom: Arc<Headroom>,
    pub metrics: Arc<Metrics>,
}

struct State {
    core: Core<Job>,
    /// Compute threads that wait for work. Waking one is a system call and a context switch, so
    /// nobody is woken who is not here, and none whose work another thread is about to take.
    parked: usize,
    stopping: bool,
}

/// The queue of one loaded version; closes when dropped.
pub struct Queue {
    shared: Arc<Shared>,
    id: QueueId,
    limits: Limits,
    target: Arc<Target>,
    /// Requests that hold a place and are not queued yet.
    preparing: Arc<AtomicUsize>,
}

/// A place in a queue, held while a request is decoded: so that no work is put into a request
/// that the queue would then refuse.
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Scheduler {
    /// Starts `threads` compute threads.
    pub fn start(threads: usize, metrics: Arc<Metrics>) -> std::io::Result<Scheduler> {
        metrics.threads.set(threads as i64);
        let state = State { core: Core::new(), parked: 0, stopping: false };
        let state = Mutex::new(state);
        let headroom = Arc::new(Headroom::new(threads));
        let shared = Arc::new(Shared { state, work: Condvar::new(), threads, headroom, metrics });
        let spawn = |i| {
            let shared = shared.clone();
            let name = format!("ocelli-compute-{i}");
            std::thread::Builder::new().name(name).spawn(move || worker::run(&shared))
        };
        let threads = (0..threads).map(spawn).collect::<std::io::Result<Vec<_>>>()?;
        Ok(Scheduler { shared, threads: Mutex::new(threads) })
    }

    /// What tells whether the compute threads leave room for others.
    pub fn headroom(&self) -> Arc<Headroom> {
        self.shared.headroom.clone()
    }

    /// A queue for a version. `limits.instances` is capped by the compute threads.
    pub fn open(&self, target: Arc<Target>, mut limits: Limits) -> Queue {
        let mode = target.model.signature().batch_mode;
        limits.alone = mode == BatchMode::Whole;
        if let BatchMode::Fixed(n) = mode {
            limits.max_batch = n;
        }
        let id = self.shared.lock().core.open(limits);
        Queue { shared: self.shared.clone(), id, limits, target, preparing: Arc::default() }
    }

    /// Runs what is queued, then ends the threads.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // A compute thread catches its engine's panics, so there is no failure to hear of.
        threads.drain(..).for_each(|t| drop(t.join()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The core is consistent between calls, so a panic elsewhere did not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until there is a batch; `None` when the server stops and nothing is left.
    pub fn take(&self) -> Option<(QueueId, Vec<Job>)> {
        let mut dead = Vec::new();
        let mut state = self.lock();
        loop {
            let next = state.core.next(Instant::now(), &mut dead);
            if !dead.is_empty() {
                drop(state);
                dead.drain(..).for_each(Job::bury);
                state = self.lock();
                if !matches!(next, Next::Run(..)) {
                    continue;
                }
            }
            state = match next {
                Next::Run(id, batch) => {
                    if let Some(job) = batch.first() {
                        job.target.metrics.queue_rows(state.core.queued_rows(id));
                    }
                    // Each thread that has its batch wakes the next one while there is more.
                    if state.parked > 0 && state.core.has_work() {
                        self.work.notify_one();
                    }
                    return Some((id, batch));
                }
                Next::Idle if state.stopping => return None,
                Next::Idle => self.park(state, None),
                Next::WaitUntil(at) => self.park(state, Some(at)),
            };
        }
    }

    fn park<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        state.parked += 1;
        let mut state = match until {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(at) => {
                let wait = at.saturating_duration_since(Instant::now());
                let woken = self.work.wait_timeout(state, wait);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.parked -= 1;
        state
    }

    /// The batch ran: its version may have another instance again. The thread goes on to
    /// [`Shared::take`], so there is no other to wake.
    pub fn done(&self, id: QueueId, rows: usize, took: Duration) {
        self.lock().core.done(id, rows, took);
    }
}

impl Queue {
    /// What the queue allows.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Leaves at least one compute thread to others, or no longer. An arm with little of the traffic must
    /// not slow the rest down when it turns out to be slow.
    pub fn hold_back(&self, held: bool) {
        let (all, threads) = (self.limits.instances, self.shared.threads);
        let instances = if held { all.min(threads.saturating_sub(1).max(1)) } else { all };
        if self.shared.lock().core.set_instances(self.id, instances) {
            self.shared.work.notify_one();
        }
    }

    /// What its batches run on.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Refuses what has no chance, before its body is read.
    pub fn check_room(&self) -> Result<(), InferError> {
        self.room_beside(self.preparing.load(Ordering::Relaxed))
    }

    /// A place for a request whose body is there and is about to be decoded. It counts as one
    /// row, since nobody has looked into it yet.
    pub fn reserve(&self) -> Result<Place, InferError> {
        let place = Place(self.preparing.clone());
        let others = place.0.fetch_add(1, Ordering::Relaxed);
        self.room_beside(others).map(|()| place)
    }

    fn room_beside(&self, preparing: usize) -> Result<(), InferError> {
        let queued = self.shared.lock().core.queued_rows(self.id) + preparing;
        if queued < self.limits.max_queue_rows {
            return Ok(());
        }
        self.target.metrics.rejected("queue_full");
        Err(self.full(queued, Duration::from_secs(1)))
    }

    /// Queues a request, whose tensors are in the signature's order and agree in rows, and waits
    /// for its answer. More rows than a batch takes are split and rejoined, all or none queued.
    pub async fn infer(
        &self,
        place: Place,
        inputs: Vec<Tensor>,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Reply, InferError> {
        let now = Instant::now();
        let timeout = deadline.saturating_duration_since(now);
        let rows = inputs.first().map_or(1, Tensor::rows);
        let step = self.target.split_at(self.limits.max_batch).min(rows.max(1));
        let shape: Vec<usize> = inputs
            .iter()
            .flat_map(|t| t.shape().iter().skip(1).copied().chain([usize::MAX]))
            .collect();
        let (jobs, replies): (Vec<_>, Vec<_>) = (0..rows)
            .step_by(step)
            .map(|start| {
                let range = start..rows.min(start + step);
                let (reply, answer) = oneshot::channel();
                let job = Job {
                    target: self.target.clone(),
                    rows: range.len(),
                    inputs: if range.len() == rows {
                        inputs.clone()
                    } else {
                        inputs.iter().map(|t| t.slice_rows(range.clone())).collect()
                    },
                    enqueued: now,
                    deadline,
                    timeout,
                    priority,
                    reply,
                };
                (job, answer)
            })
            .unzip();
        drop(inputs);
        let pushed = self.push(&shape, jobs, now);
        drop(place);
        pushed?;
        let mut parts = Vec::with_capacity(replies.len());
        for reply in replies {
            let answer = tokio::time::timeout_at(deadline.into(), reply).await;
            let answer = answer.map_err(|_| self.target.late(timeout))?;
            parts.push(answer.map_err(|_| InferError::ShuttingDown)??);
        }
        rejoin(parts)
    }

    fn push(&self, shape: &[usize], jobs: Vec<Job>, now: Instant) -> Result<(), InferError> {
        let mut dead = Vec::new();
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(InferError::ShuttingDown);
        }
        let pushed = state.core.push(self.id, shape, jobs, now, self.shared.threads, &mut dead);
        self.target.metrics.queue_rows(state.core.queued_rows(self.id));
        let wake = pushed.is_ok() && state.parked > 0;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        dead.into_iter().for_each(Job::bury);
        if let Err(full) = pushed {
            self.target.metrics.rejected("queue_full");
            return Err(self.full(full.queued, full.retry_after));
        }
        Ok(())
    }

    fn full(&self, queued: usize, retry_after: Duration) -> InferError {
        InferError::QueueFull {
            model: self.target.name.to_string(),
            version: self.target.version,
            queued,
            limit: self.limits.max_queue_rows,
            retry_after,
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Requests hold the version, and so its queue: what is left here has no caller any more.
        let left = self.shared.lock().core.close(self.id);
        left.into_iter().for_each(Job::bury);
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
