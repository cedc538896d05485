//! Which work runs next. Pure: time is an argument, work is anything that implements [`Work`].

mod admit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Slo;
use super::cost::Curve;
use super::decoding::Decoding;
use super::lanes::{Lanes, Shape};
use super::load::{HORIZON, Offered};
use super::rule::{self, Moment, Rule};
use super::share::Shares;

/// How far back the rule looks for what comes in, in batches of one row.
const LATELY: f64 = 50.0;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// How batches are formed.
    pub rule: Rule,
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
    /// When answers should be there.
    pub slo: Option<Slo>,
    /// The model's part of the compute threads' time while others want it too.
    pub weight: f64,
    /// Compute threads that a batch is worth: more than one if the engine has threads of its own for it.
    pub cores: f64,
}

impl Limits {
    /// Of a version of which nothing is set, on one compute thread.
    pub const DEFAULT: Limits = Limits {
        rule: Rule::Tuned,
        max_batch: 8,
        max_queue_delay: Duration::ZERO,
        max_queue_rows: 128,
        instances: 1,
        alone: false,
        slo: None,
        weight: 1.0,
        cores: 1.0,
    };
}

/// Something that waits to be computed.
pub trait Work {
    /// Rows it adds to a batch.
    fn rows(&self) -> usize;
    /// When it was queued.
    fn enqueued(&self) -> Instant;
    /// When its request was there: from then on its objective counts.
    fn since(&self) -> Instant;
    /// When its answer is no longer wanted.
    fn deadline(&self) -> Instant;
    /// Who goes first.
    fn priority(&self) -> Priority;
    /// Whether its caller has left.
    fn is_abandoned(&self) -> bool;
}

/// Names a loaded version within the scheduler.
pub type QueueId = u64;

/// Why work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is short.
    pub why: Short,
    /// When it should be there.
    pub retry_after: Duration,
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// Room: so many rows wait.
    Room(usize),
    /// Time to keep the objective: an answer would take so long.
    Objective(Duration),
    /// Time until the request's own deadline: an answer would take so long.
    Deadline(Duration),
}

/// A batch that was given out.
#[derive(Debug, PartialEq)]
pub struct Run {
    id: u64,
    /// Whose it is.
    pub queue: QueueId,
    shape: Shape,
    rows: usize,
}

/// What a compute thread does now.
#[derive(Debug, PartialEq)]
pub enum Next<W> {
    /// Run these together, and say [`Core::done`] afterwards.
    Run(Run, Vec<W>),
    /// A batch is being held back; look again then.
    WaitUntil(Instant),
    /// Nothing to do until something is pushed or done.
    Idle,
}

/// What is told of a queue.
#[derive(Clone, Debug)]
pub struct QueueReport {
    /// Which.
    pub id: QueueId,
    /// What batches of the shape cost that ran last.
    pub curve: Option<Curve>,
    /// Seconds of work, in full batches, that wait.
    pub queued_seconds: f64,
    /// What is asked of it.
    pub offered: Offered,
}

/// Threads that work at once, on the same CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Batches that run at once.
    pub compute: usize,
    /// Images that are decoded at once: no more than there are CPUs.
    pub decode: usize,
}

/// All queues of the process.
pub struct Core<W> {
    threads: usize,
    decoders: usize,
    queues: BTreeMap<QueueId, Lanes<W>>,
    shares: Shares,
    running: Vec<Running>,
    last_queue: QueueId,
    last_run: u64,
    scratch: Vec<f64>,
}

/// A batch under way.
struct Running {
    id: u64,
    queue: QueueId,
    /// Seconds it should take, and seconds of work that each of them counts: what part of them it would take in
    /// a full batch, of as many threads as it keeps busy.
    expected: f64,
    part: f64,
    ends: Instant,
    since: Vec<Instant>,
}

impl<W: Work> Core<W> {
    /// No queue at all, and so many threads.
    pub fn new(threads: Threads) -> Core<W> {
        Core {
            threads: threads.compute,
            decoders: threads.decode.max(1),
            queues: BTreeMap::new(),
            shares: Shares::default(),
            running: Vec::new(),
            last_queue: 0,
            last_run: 0,
            scratch: Vec::new(),
        }
    }

    /// A queue for a version of a model.
    pub fn open(&mut self, model: Arc<str>, limits: Limits) -> QueueId {
        self.last_queue += 1;
        self.shares.join(&model, limits.weight);
        self.queues.insert(self.last_queue, Lanes::new(model, limits));
        self.last_queue
    }

    /// Sets how many of a queue's batches may run at once; tells whether they are more than before. Those
    /// that run already go on.
    pub fn set_instances(&mut self, id: QueueId, instances: usize) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        instances > std::mem::replace(&mut queue.limits.instances, instances)
    }

    /// Forgets a queue; gives back what still waited in it.
    pub fn close(&mut self, id: QueueId) -> Vec<W> {
        let Some(queue) = self.queues.remove(&id) else { return Vec::new() };
        self.shares.leave(&queue.model, queue.queued);
        queue.drain()
    }

    /// Rows that wait in a queue.
    pub fn queued_rows(&self, id: QueueId) -> usize {
        self.queues.get(&id).map_or(0, |q| q.queued)
    }

    /// A batch ran before the queue was opened.
    pub fn learn(&mut self, id: QueueId, rows: usize, took: Duration) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.learn(rows, took);
        }
    }

    /// Queues all of `work`, or none of it. Work that is dead already makes room first and lands in `dead`.
    pub fn push(
        &mut self,
        id: QueueId,
        shape: &[usize],
        work: Vec<W>,
        now: Instant,
        dead: &mut Vec<W>,
    ) -> Result<(), Refused> {
        let rows: usize = work.iter().map(Work::rows).sum();
        let Some(queue) = self.queues.get_mut(&id) else {
            let retry_after = Duration::from_secs(1);
            return Err(Refused { why: Short::Room(0), retry_after });
        };
        if queue.queued + rows > queue.limits.max_queue_rows {
            let swept = queue.sweep(now, dead);
            self.shares.took(&queue.model, swept);
        }
        // A request that alone is over the bound may run when nothing waits, else never could.
        if queue.queued > 0 && queue.queued + rows > queue.limits.max_queue_rows {
            let (why, seconds) = (Short::Room(queue.queued), queue.seconds());
            let wait = (seconds / self.threads.max(1) as f64).clamp(0.0, 60.0);
            let retry_after = Duration::from_secs_f64(wait);
            self.refused(id, rows, 0.0, now);
            return Err(Refused { why, retry_after });
        }
        if let Some(first) = work.first()
            && let Some(refused) = self.too_late(id, shape, rows, first, now)
        {
            self.refused(id, rows, 0.0, now);
            return Err(refused);
        }
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        if let Some(curve) = queue.curve(shape) {
            queue.demand.forget_after(Duration::from_secs_f64(LATELY * curve.exec(1)));
            queue.demand.add(queue.work(curve, rows), now);
        }
        self.shares.wait(&queue.model, rows);
        let idle = self.running.len() < self.threads && queue.may_run();
        queue.push(shape, work, idle.then_some(now));
        Ok(())
    }

    /// The next batch: of the most urgent work, then of the model whose turn it is, then of the head over
    /// its lanes that waits longest. Work that died waiting is put into `dead` instead of being run.
    pub fn next(&mut self, now: Instant, dead: &mut Vec<W>) -> Next<W> {
        let mut best: Option<(Priority, f64, Instant, QueueId, Shape)> = None;
        let mut wake: Option<Instant> = None;
        for (id, queue) in &mut self.queues {
            if queue.queued == 0 || !queue.may_run() {
                continue;
            }
            let swept = queue.sweep_heads(now, dead);
            self.shares.took(&queue.model, swept);
            let tag = self.shares.tag(&queue.model);
            for (shape, lane) in &queue.lanes {
                let Some(head) = lane.head() else { continue };
                let Limits { max_batch, max_queue_delay, alone, .. } = queue.limits;
                let ready_at = head.enqueued() + max_queue_delay;
                if now < ready_at && !lane.fills(max_batch, alone) {
                    wake = Some(wake.map_or(ready_at, |w| w.min(ready_at)));
                    continue;
                }
                let key = (head.priority(), tag, head.enqueued());
                if best.as_ref().is_none_or(|(p, t, e, ..)| key < (*p, *t, *e)) {
                    best = Some((key.0, key.1, key.2, *id, shape.clone()));
                }
            }
        }
        match best {
            Some((.., id, shape)) => self.start(id, shape, now, dead),
            None => wake.map_or(Next::Idle, Next::WaitUntil),
        }
    }

    fn start(&mut self, id: QueueId, shape: Shape, now: Instant, dead: &mut Vec<W>) -> Next<W> {
        let idle = self.threads.saturating_sub(self.running.len()).max(1);
        let demand: f64 = self.queues.values().map(|q| q.demand.per_second(now)).sum();
        let load = demand / self.threads.max(1) as f64;
        let Some(queue) = self.queues.get_mut(&id) else { return Next::Idle };
        let curve = queue.curve(&shape);
        let rows = match curve {
            Some(curve) if queue.limits.rule == Rule::Tuned => {
                let lane = queue.lanes.get(&shape);
                let (waiting, taken, under_way) =
                    lane.map_or((0, 0, 0), |l| (l.rows(), l.taken, l.under_way()));
                let threads = self.threads.min(queue.limits.instances);
                let idle = idle.min(queue.limits.instances - queue.running);
                let most = queue.full(curve);
                rule::rows(curve, Moment { waiting, taken, under_way, threads, idle, load, most })
            }
            _ => queue.limits.max_batch,
        };
        let (batch, gone) = queue.take(&shape, rows, now, dead);
        self.shares.took(&queue.model, gone);
        let rows = batch.iter().map(Work::rows).sum();
        let (expected, part) = match curve {
            Some(c) => (c.exec(rows), queue.work(c, rows) / c.exec(rows)),
            None => (0.0, queue.limits.cores),
        };
        self.shares.start(&queue.model, expected * queue.limits.cores);
        queue.served.add(expected * part, now);
        let since = queue.limits.slo.map(|_| batch.iter().map(Work::since).collect());
        let ends = now + Duration::from_secs_f64(expected);
        self.last_run += 1;
        let (since, run) = (since.unwrap_or_default(), self.last_run);
        self.running.push(Running { id: run, queue: id, expected, part, ends, since });
        Next::Run(Run { id: run, queue: id, shape, rows }, batch)
    }

    /// Whether another thread would have something to run or to hold back.
    pub fn has_work(&self) -> bool {
        self.queues.values().any(|q| q.queued > 0 && q.may_run())
    }

    /// A batch that [`Core::next`] gave out has run, and took so long; unless it was computed `as_one`, that tells
    /// nothing of what batches cost.
    pub fn done(&mut self, run: Run, took: Duration, as_one: bool, now: Instant) {
        let Some(at) = self.running.iter().position(|r| r.id == run.id) else { return };
        let running = self.running.swap_remove(at);
        let Some(queue) = self.queues.get_mut(&run.queue) else { return };
        queue.running -= 1;
        // All its callers may have left before it began.
        let seconds = if run.rows == 0 { 0.0 } else { took.as_secs_f64() };
        self.shares.settle(&queue.model, (seconds - running.expected) * queue.limits.cores);
        queue.served.add((seconds - running.expected) * running.part, now);
        if run.rows > 0 {
            queue.ran(&run.shape, run.rows, as_one.then_some(took), now);
            running.since.iter().for_each(|s| queue.answered(now.saturating_duration_since(*s)));
        }
    }

    /// Images that a queue has with the decoders.
    pub fn decoding(&mut self, id: QueueId) -> Option<&mut Decoding> {
        self.queues.get_mut(&id).map(|q| &mut q.decoding)
    }

    /// A second of a decoder, in seconds of a compute thread: each of them can have all CPUs.
    fn decoders_part(&self) -> f64 {
        self.threads as f64 / self.decoders as f64
    }

    /// What is asked of each queue.
    pub fn report(&self, now: Instant) -> Vec<QueueReport> {
        let part = self.decoders_part();
        let of = |(id, queue): (&QueueId, &Lanes<W>)| {
            let (queued_seconds, decoding) = (queue.seconds(), &queue.decoding);
            let offered = Offered {
                served: queue.served.per_second(now) + decoding.cpu_spent(now) * part,
                queued: (queued_seconds + decoding.cpu_waiting() * part) / HORIZON,
                refused: queue.refused.per_second(now),
            };
            QueueReport { id: *id, curve: queue.last_curve(), queued_seconds, offered }
        };
        self.queues.iter().map(of).collect()
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
