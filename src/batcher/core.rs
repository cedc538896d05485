//! Which work runs next. Pure: time is an argument, work is anything that implements [`Work`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Who goes first when both wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before everything else.
    High,
    /// What requests have unless they say otherwise.
    #[default]
    Normal,
    /// Only when nothing else waits.
    Low,
}

/// What a version allows its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a batch at most.
    pub max_batch: usize,
    /// How long an idle thread may hold a batch back to let it fill; zero never waits.
    pub max_queue_delay: Duration,
    /// Rows that may wait at most.
    pub max_queue_rows: usize,
    /// Batches of the version that may run at once.
    pub instances: usize,
    /// Run each piece of work alone, whatever its rows.
    pub alone: bool,
}

/// Something that waits to be computed.
pub trait Work {
    /// Rows it adds to a batch.
    fn rows(&self) -> usize;
    /// When it was queued.
    fn enqueued(&self) -> Instant;
    /// When its answer is no longer wanted.
    fn deadline(&self) -> Instant;
    /// Who goes first.
    fn priority(&self) -> Priority;
    /// Whether its caller has left.
    fn is_abandoned(&self) -> bool;
}

/// Names a loaded version within the scheduler.
pub type QueueId = u64;

/// The queue is at its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Rows that wait.
    pub queued: usize,
    /// When there should be room.
    pub retry_after: Duration,
}

/// What a compute thread does now.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<W> {
    /// Run these together, and say [`Core::done`] afterwards.
    Run(QueueId, Vec<W>),
    /// A batch is being held back; look again then.
    WaitUntil(Instant),
    /// Nothing to do until something is pushed or done.
    Idle,
}

/// All queues of the process.
pub struct Core<W> {
    queues: HashMap<QueueId, VersionQueue<W>>,
    next_id: QueueId,
}

struct VersionQueue<W> {
    limits: Limits,
    lanes: HashMap<Vec<usize>, Lane<W>>,
    queued_rows: usize,
    running: usize,
    seconds_per_row: f64,
}

struct Lane<W>([VecDeque<W>; 3]);

impl<W> Default for Lane<W> {
    fn default() -> Self {
        Lane([VecDeque::new(), VecDeque::new(), VecDeque::new()])
    }
}

impl<W: Work> Core<W> {
    /// No queue at all.
    pub fn new() -> Core<W> {
        Core { queues: HashMap::new(), next_id: 0 }
    }

    /// A queue for a version.
    pub fn open(&mut self, limits: Limits) -> QueueId {
        self.next_id += 1;
        let queue = VersionQueue {
            limits,
            lanes: HashMap::new(),
            queued_rows: 0,
            running: 0,
            seconds_per_row: 0.0,
        };
        self.queues.insert(self.next_id, queue);
        self.next_id
    }

    /// Sets how many of a queue's batches may run at once; tells whether they are more than before. Those
    /// that run already go on.
    pub fn set_instances(&mut self, id: QueueId, instances: usize) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        instances > std::mem::replace(&mut queue.limits.instances, instances)
    }

    /// Forgets a queue; gives back what still waited in it.
    pub fn close(&mut self, id: QueueId) -> Vec<W> {
        let lanes = self.queues.remove(&id).map(|q| q.lanes).unwrap_or_default();
        lanes.into_values().flat_map(|lane| lane.0.into_iter().flatten()).collect()
    }

    /// Rows that wait in a queue.
    pub fn queued_rows(&self, id: QueueId) -> usize {
        self.queues.get(&id).map_or(0, |q| q.queued_rows)
    }

    /// Queues all of `work`, or none of it. Work that is dead already makes room first and lands
    /// in `dead`. `threads` only serves the estimate of when there is room again.
    pub fn push(
        &mut self,
        id: QueueId,
        shape: &[usize],
        work: Vec<W>,
        now: Instant,
        threads: usize,
        dead: &mut Vec<W>,
    ) -> Result<(), Full> {
        let Some(queue) = self.queues.get_mut(&id) else {
            return Err(Full { queued: 0, retry_after: Duration::from_secs(1) });
        };
        let rows: usize = work.iter().map(Work::rows).sum();
        if queue.queued_rows + rows > queue.limits.max_queue_rows {
            queue.sweep(now, dead);
        }
        // A request that alone is over the bound may run when nothing waits, else never could.
        if queue.queued_rows > 0 && queue.queued_rows + rows > queue.limits.max_queue_rows {
            return Err(Full { queued: queue.queued_rows, retry_after: queue.drain_time(threads) });
        }
        queue.queued_rows += rows;
        let lane = match queue.lanes.get_mut(shape) {
            Some(lane) => lane,
            None => queue.lanes.entry(shape.to_vec()).or_default(),
        };
        work.into_iter().for_each(|w| lane.0[w.priority() as usize].push_back(w));
        Ok(())
    }

    /// The next batch: of the most urgent, then longest-waiting head over all lanes. Work that
    /// died waiting is put into `dead` instead of being run.
    pub fn next(&mut self, now: Instant, dead: &mut Vec<W>) -> Next<W> {
        let mut best: Option<(Priority, Instant, QueueId, Vec<usize>)> = None;
        let mut wake: Option<Instant> = None;
        for (id, queue) in &mut self.queues {
            if queue.queued_rows == 0 || queue.running >= queue.limits.instances {
                continue;
            }
            queue.sweep_heads(now, dead);
            for (shape, lane) in &queue.lanes {
                let Some(head) = lane.head() else { continue };
                let ready_at = head.enqueued() + queue.limits.max_queue_delay;
                if now < ready_at && !lane.fills(&queue.limits) {
                    wake = Some(wake.map_or(ready_at, |w| w.min(ready_at)));
                    continue;
                }
                let key = (head.priority(), head.enqueued());
                if best.as_ref().is_none_or(|(p, t, ..)| key < (*p, *t)) {
                    best = Some((key.0, key.1, *id, shape.clone()));
                }
            }
        }
        if let Some((_, _, id, shape)) = best
            && let Some(queue) = self.queues.get_mut(&id)
        {
            return Next::Run(id, queue.take(&shape, now, dead));
        }
        wake.map_or(Next::Idle, Next::WaitUntil)
    }

    /// Whether another thread would have something to run or to hold back.
    pub fn has_work(&self) -> bool {
        self.queues.values().any(|q| q.queued_rows > 0 && q.running < q.limits.instances)
    }

    /// A batch that [`Core::next`] gave out has run; with no rows if all its callers had left.
    pub fn done(&mut self, id: QueueId, rows: usize, took: Duration) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.running -= 1;
            if rows == 0 {
                return;
            }
            let sample = took.as_secs_f64() / rows as f64;
            let old = queue.seconds_per_row;
            queue.seconds_per_row = if old == 0.0 { sample } else { 0.9 * old + 0.1 * sample };
        }
    }
}

impl<W: Work> VersionQueue<W> {
    fn sweep(&mut self, now: Instant, dead: &mut Vec<W>) {
        for lane in self.lanes.values_mut() {
            for deque in &mut lane.0 {
                for _ in 0..deque.len() {
                    let Some(work) = deque.pop_front() else { break };
                    if is_dead(&work, now) {
                        self.queued_rows -= work.rows();
                        dead.push(work);
                    } else {
                        deque.push_back(work);
                    }
                }
            }
        }
        self.forget_empty_lanes();
    }

    fn sweep_heads(&mut self, now: Instant, dead: &mut Vec<W>) {
        for deque in self.lanes.values_mut().flat_map(|lane| &mut lane.0) {
            while let Some(work) = deque.pop_front_if(|w| is_dead(w, now)) {
                self.queued_rows -= work.rows();
                dead.push(work);
            }
        }
        self.forget_empty_lanes();
    }

    /// A version that takes any shape would otherwise keep a lane for each it ever saw.
    fn forget_empty_lanes(&mut self) {
        self.lanes.retain(|_, lane| lane.head().is_some());
    }

    fn take(&mut self, shape: &[usize], now: Instant, dead: &mut Vec<W>) -> Vec<W> {
        let (mut batch, mut rows) = (Vec::new(), 0);
        let Some(lane) = self.lanes.get_mut(shape) else { return batch };
        'lane: for deque in &mut lane.0 {
            while let Some(work) = deque.pop_front() {
                if is_dead(&work, now) {
                    self.queued_rows -= work.rows();
                    dead.push(work);
                    continue;
                }
                let fits = rows + work.rows() <= self.limits.max_batch && !self.limits.alone;
                if !batch.is_empty() && !fits {
                    deque.push_front(work);
                    break 'lane;
                }
                rows += work.rows();
                batch.push(work);
            }
        }
        self.queued_rows -= rows;
        self.running += 1;
        self.forget_empty_lanes();
        batch
    }

    fn drain_time(&self, threads: usize) -> Duration {
        let seconds = self.queued_rows as f64 * self.seconds_per_row / threads.max(1) as f64;
        Duration::from_secs_f64(seconds.clamp(0.0, 60.0))
    }
}

impl<W: Work> Lane<W> {
    fn head(&self) -> Option<&W> {
        self.0.iter().find_map(VecDeque::front)
    }

    fn fills(&self, limits: &Limits) -> bool {
        let mut rows = 0;
        limits.alone
            || self.0.iter().flatten().any(|w| {
                rows += w.rows();
                rows >= limits.max_batch
            })
    }
}

fn is_dead(work: &impl Work, now: Instant) -> bool {
    work.deadline() <= now || work.is_abandoned()
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
