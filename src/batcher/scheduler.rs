//! The lock around [`Core`](super::core::Core): pushes wake threads, threads take batches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::core::{
    Core, Limits, Next, Priority, QueueId, QueueReport, Refused, Run, Short, Threads,
};
use super::decoding::Decoding;
use super::headroom::Headroom;
use super::images::Images;
use super::job::{Job, Reply, Target, rejoin};
use super::meter::Meter;
use super::worker;
use crate::engine::BatchMode;
use crate::error::InferError;
use crate::telemetry::metrics::{Metrics, VersionMetrics};
use crate::tensor::Tensor;

/// Owns the compute threads of the process.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    work: Condvar,
    pub threads: usize,
    pub headroom: Arc<Headroom>,
    pub metrics: Arc<Metrics>,
}

struct State {
    core: Core<Job>,
    /// Who the queues belong to.
    counted: HashMap<QueueId, Counted>,
    /// Compute threads that wait for work. Waking one is a system call and a context switch, so
    /// nobody is woken who is not here, and none whose work another thread is about to take.
    parked: usize,
    stopping: bool,
}

/// Whose queue it is, and where it is counted.
#[derive(Clone)]
pub(super) struct Counted {
    pub model: Arc<str>,
    pub metrics: Weak<VersionMetrics>,
    /// Rows that wait, for those who only want to know whether there is room: too many for a moment when
    /// some were dropped, which the lock puts right.
    queued: Arc<AtomicUsize>,
}

/// The queue of one loaded version; closes when dropped.
pub struct Queue {
    shared: Arc<Shared>,
    id: QueueId,
    limits: Limits,
    target: Arc<Target>,
    /// Requests that hold a place and are not queued yet.
    preparing: Arc<AtomicUsize>,
    queued: Arc<AtomicUsize>,
}

/// A place in a queue, held while a request is decoded: so that no work is put into a request
/// that the queue would then refuse.
pub struct Place {
    /// Of its queue, if it counts there.
    preparing: Option<Arc<AtomicUsize>>,
    since: Instant,
    images: bool,
    priority: Priority,
}

impl Place {
    /// Its request goes otherwise than was thought, which may be known from its body only.
    pub fn goes(&mut self, priority: Priority) {
        self.priority = priority;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(preparing) = &self.preparing {
            preparing.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A batch that a thread is done with.
pub(super) struct Ran {
    /// Which.
    pub run: Run,
    /// How long it kept the thread.
    pub took: Duration,
    /// Whether it was computed as one, as it was given out.
    pub as_one: bool,
}

impl Scheduler {
    /// Starts the compute threads. Whoever decodes has threads of their own.
    pub fn start(threads: Threads, metrics: Arc<Metrics>) -> std::io::Result<Scheduler> {
        let core = Core::new(threads);
        let threads = threads.compute;
        metrics.threads.set(threads as i64);
        let state = State { core, counted: HashMap::new(), parked: 0, stopping: false };
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

    /// What reads the load.
    pub fn meter(&self) -> Meter {
        Meter { shared: self.shared.clone() }
    }

    /// A queue for a version. There run no more of its batches at once than there are compute threads.
    pub fn open(&self, target: Arc<Target>, mut limits: Limits) -> Queue {
        let mode = target.model.signature().batch_mode;
        limits.alone = mode == BatchMode::Whole;
        if let BatchMode::Fixed(n) = mode {
            limits.max_batch = n;
        }
        let queued = Arc::<AtomicUsize>::default();
        let metrics = Arc::downgrade(&target.metrics);
        let counted = Counted { model: target.name.clone(), metrics, queued: queued.clone() };
        let mut state = self.shared.lock();
        let id = state.core.open(target.name.clone(), limits);
        state.counted.insert(id, counted);
        drop(state);
        Queue { shared: self.shared.clone(), id, limits, target, preparing: Arc::default(), queued }
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

impl State {
    /// Tells how many rows wait in a queue.
    fn count(&self, id: QueueId) {
        let Some(counted) = self.counted.get(&id) else { return };
        let rows = self.core.queued_rows(id);
        counted.queued.store(rows, Ordering::Relaxed);
        if let Some(metrics) = counted.metrics.upgrade() {
            metrics.queue_rows(rows);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The core is consistent between calls, so a panic elsewhere did not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a batch ran, so that its version may have another instance again, and blocks until there
    /// is the next; `None` when the server stops and nothing is left. One lock for both.
    pub fn take(&self, done: Option<Ran>) -> Option<(Run, Vec<Job>)> {
        let mut dead = Vec::new();
        let mut state = self.lock();
        if let Some(Ran { run, took, as_one }) = done {
            state.core.done(run, took, as_one, Instant::now());
        }
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
                Next::Run(run, batch) => {
                    state.count(run.queue);
                    // Each thread that has its batch wakes the next one while there is more.
                    if state.parked > 0 && state.core.has_work() {
                        self.work.notify_one();
                    }
                    return Some((run, batch));
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

    /// What a queue knows of its images, if there still is one.
    pub fn decoding(&self, id: QueueId, tell: impl FnOnce(&mut Decoding)) {
        if let Some(decoding) = self.lock().core.decoding(id) {
            tell(decoding);
        }
    }

    /// What is asked of each queue.
    pub fn report(&self, now: Instant) -> Vec<(Counted, QueueReport)> {
        let state = self.lock();
        let of = |report: QueueReport| Some((state.counted.get(&report.id)?.clone(), report));
        state.core.report(now).into_iter().filter_map(of).collect()
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

    /// Takes over how long runs took before there was a queue, each by its rows.
    pub fn learn(&self, runs: &[(usize, Duration)]) {
        let mut state = self.shared.lock();
        runs.iter().for_each(|(rows, took)| state.core.learn(self.id, *rows, *took));
    }

    /// Refuses what has no chance, before its body is read.
    pub fn check_room(&self, priority: Priority) -> Result<(), InferError> {
        self.room_beside(self.preparing.load(Ordering::Relaxed), priority)
    }

    /// A place for a request whose body is there and is about to be decoded. It counts as one
    /// row, since nobody has looked into it yet.
    pub fn reserve(&self, priority: Priority) -> Result<Place, InferError> {
        let mut place = self.place(priority);
        self.admit(&mut place).map(|()| place)
    }

    /// A place for a request that may not have to be computed, and takes no room before it is [admitted](Queue::admit).
    pub fn place(&self, priority: Priority) -> Place {
        Place { preparing: None, since: Instant::now(), images: false, priority }
    }

    /// Takes room for who holds a place and has none yet, or refuses.
    pub fn admit(&self, place: &mut Place) -> Result<(), InferError> {
        if place.preparing.is_some() {
            return Ok(());
        }
        let others = self.preparing.fetch_add(1, Ordering::Relaxed);
        place.preparing = Some(self.preparing.clone());
        self.room_beside(others, place.priority)
    }

    /// Hands images of the request that holds `place` to decoders, unless its answer would come too late.
    /// They count as work until the [`Images`] are dropped.
    pub fn decode(
        &self,
        place: &mut Place,
        images: usize,
        deadline: Instant,
    ) -> Result<Images, InferError> {
        place.images = true;
        let times = (place.since, deadline);
        let taken =
            self.shared.lock().core.decode(self.id, images, times, place.priority, Instant::now());
        taken.map_err(|refused| self.refusal(refused))?;
        Ok(Images::new(self.shared.clone(), self.id, images))
    }

    /// Counts images that no decoder has a place for.
    pub fn no_decoder(&self, images: usize) {
        self.target.metrics.rejected("decoders_busy");
        self.shared.lock().core.refused(self.id, images, images as f64, Instant::now());
    }

    fn room_beside(&self, preparing: usize, priority: Priority) -> Result<(), InferError> {
        let rows = self.queued.load(Ordering::Relaxed) + preparing;
        if self.limits.slo.is_none() && rows < self.limits.max_queue_rows {
            return Ok(());
        }
        let room = self.shared.lock().core.room(self.id, preparing, priority, Instant::now());
        room.map_err(|refused| self.refusal(refused))
    }

    /// Queues a request, whose tensors are in the signature's order and agree in rows, and waits
    /// for its answer. More rows than a batch takes are split and rejoined, all or none queued.
    pub async fn infer(
        &self,
        place: Place,
        inputs: Vec<Tensor>,
        deadline: Instant,
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
                    since: place.since,
                    deadline,
                    timeout,
                    priority: place.priority,
                    reply,
                };
                (job, answer)
            })
            .unzip();
        drop(inputs);
        let pushed = self.push(&shape, jobs, (!place.images).then_some(rows), now);
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

    /// `tensors`: rows that needed no decoding.
    fn push(
        &self,
        shape: &[usize],
        jobs: Vec<Job>,
        tensors: Option<usize>,
        now: Instant,
    ) -> Result<(), InferError> {
        let mut dead = Vec::new();
        let mut state = self.shared.lock();
        if state.stopping {
            return Err(InferError::ShuttingDown);
        }
        if let (Some(rows), Some(decoding)) = (tensors, state.core.decoding(self.id)) {
            decoding.asked(0, rows);
        }
        let pushed = state.core.push(self.id, shape, jobs, now, &mut dead);
        state.count(self.id);
        let wake = pushed.is_ok() && state.parked > 0;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        dead.into_iter().for_each(Job::bury);
        pushed.map_err(|refused| self.refusal(refused))
    }

    /// Counts a refusal, and puts it into words.
    fn refusal(&self, Refused { why, retry_after }: Refused) -> InferError {
        let (target, metrics) = (&self.target, &self.target.metrics);
        match why {
            Short::Room(queued) => {
                metrics.rejected("queue_full");
                InferError::QueueFull {
                    model: target.name.to_string(),
                    version: target.version,
                    queued,
                    limit: self.limits.max_queue_rows,
                    retry_after,
                }
            }
            Short::Objective(takes) => {
                metrics.rejected("slo");
                target.too_late(takes, "its model's objective", retry_after)
            }
            Short::Deadline(takes) => {
                metrics.rejected("deadline");
                target.too_late(takes, "the request's deadline", retry_after)
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Requests hold the version, and so its queue: what is left here has no caller any more.
        let mut state = self.shared.lock();
        let left = state.core.close(self.id);
        state.counted.remove(&self.id);
        drop(state);
        left.into_iter().for_each(Job::bury);
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
