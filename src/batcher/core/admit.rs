//! Who is let in, of those who come.

use std::time::{Duration, Instant};

use super::{Core, Priority, QueueId, Refused, Short, Work};
use crate::batcher::admission::finish;
use crate::batcher::lanes::Lanes;
use crate::batcher::rule::Rule;

/// The `Retry-After` of who finds no room, and nothing is known of how long that lasts.
const LATER: Duration = Duration::from_secs(1);

/// When the answer of a request has to be there.
struct Bounds {
    /// How long it has been here, and how long it may be.
    here: Duration,
    budget: Option<Duration>,
    /// Until its own deadline, where that is heeded.
    left: Option<Duration>,
}

impl Bounds {
    fn of<W: Work>(queue: &Lanes<W>, since: Instant, deadline: Instant, now: Instant) -> Bounds {
        let left = deadline.saturating_duration_since(now);
        Bounds {
            here: now.saturating_duration_since(since),
            budget: queue.budget(),
            left: (queue.limits.rule == Rule::Tuned).then_some(left),
        }
    }

    /// What an answer misses that takes so long from now on.
    fn missed(&self, takes: Duration) -> Option<Refused> {
        let after = self.here + takes;
        if let Some(budget) = self.budget.filter(|budget| after > *budget) {
            return Some(Refused { why: Short::Objective(after), retry_after: after - budget });
        }
        let left = self.left.filter(|left| takes > *left)?;
        Some(Refused { why: Short::Deadline(takes), retry_after: takes - left })
    }
}

impl<W: Work> Core<W> {
    /// Whether a row more would be taken, of a request that came just now and is not decoded. `preparing`
    /// rows are not queued either, and come before it unless it goes before others.
    pub fn room(
        &mut self,
        id: QueueId,
        preparing: usize,
        priority: Priority,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(queue) = self.queues.get(&id) else { return Ok(()) };
        let (queued, images) = (queue.queued + preparing, queue.decoding.images_of(1));
        if queued >= queue.limits.max_queue_rows {
            self.refused(id, 1, images, now);
            return Err(Refused { why: Short::Room(queued), retry_after: LATER });
        }
        // Its own deadline is not known yet.
        let bounds = Bounds { here: Duration::ZERO, budget: queue.budget(), left: None };
        if bounds.budget.is_none() {
            return Ok(());
        }
        let own = queue.decoding.wall(images);
        let before = if priority == Priority::High { 0 } else { preparing };
        let takes = self.answered_in(id, 1, own, (before, priority), now);
        let Some(refused) = takes.and_then(|takes| bounds.missed(takes)) else { return Ok(()) };
        self.refused(id, 1, images, now);
        Err(refused)
    }

    /// Takes so many images of a request that came at `since`, to be decoded before they are queued, unless
    /// their answer would be too late.
    pub fn decode(
        &mut self,
        id: QueueId,
        images: usize,
        (since, deadline): (Instant, Instant),
        priority: Priority,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some(queue) = self.queues.get(&id) else { return Ok(()) };
        let bounds = Bounds::of(queue, since, deadline, now);
        let abreast = images.min(self.decoders).max(1) as f64;
        let own = queue.decoding.wall(images as f64) / abreast;
        let takes = self.answered_in(id, images, own, (0, priority), now);
        if let Some(refused) = takes.and_then(|takes| bounds.missed(takes)) {
            self.refused(id, images, images as f64, now);
            return Err(refused);
        }
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.decoding.asked(images, images);
            queue.decoding.wait(images);
        }
        Ok(())
    }

    /// Whether work would be answered too late. What nothing is known of is not, nor what would be the only
    /// work of its queue: else a wrong estimate could never be put right.
    pub(super) fn too_late(
        &mut self,
        id: QueueId,
        shape: &[usize],
        rows: usize,
        work: &W,
        now: Instant,
    ) -> Option<Refused> {
        let queue = self.queues.get(&id)?;
        let bounds = Bounds::of(queue, work.since(), work.deadline(), now);
        if bounds.budget.is_none() && bounds.left.is_none() {
            return None;
        }
        bounds.missed(self.finish(id, Some(shape), rows, work.priority(), 0, now)?)
    }

    /// How long it takes until rows are computed that come now and are still to be decoded, which takes
    /// `own` seconds once there is a decoder. Nothing for the first of an idle queue.
    fn answered_in(
        &mut self,
        id: QueueId,
        rows: usize,
        own: f64,
        (preparing, priority): (usize, Priority),
        now: Instant,
    ) -> Option<Duration> {
        let queue = self.queues.get(&id)?;
        let (first, curve) = (queue.decoding.is_idle() && preparing == 0, queue.last_curve());
        let computed = self.finish(id, None, rows, priority, preparing, now);
        if own == 0.0 || (first && computed.is_none()) {
            return computed;
        }
        // Both go on at once. What takes longer is what holds the other up: where decoding does, there is no
        // queue for compute.
        let run = curve.map_or(0.0, |c| c.exec(1));
        let before = self.decoding_before(self.queues.get(&id)?, own);
        let decoded = bounded(before / self.decoders as f64 + own + run);
        Some(computed.map_or(decoded, |c| c.max(decoded)))
    }

    /// Seconds of decoding that go before what takes `own`: all that its model has waiting, and of what others have
    /// as much as their weights give them meanwhile.
    fn decoding_before(&self, queue: &Lanes<W>, own: f64) -> f64 {
        let (mut mine, mut theirs, mut weights) = (0.0, 0.0, 0.0);
        for other in self.queues.values().filter(|q| !q.decoding.is_idle()) {
            if other.model == queue.model {
                mine += other.decoding.backlog();
            } else {
                theirs += other.decoding.backlog();
                weights += other.limits.weight;
            }
        }
        mine + f64::min(theirs, (mine + own) * weights / queue.limits.weight)
    }

    /// How long it takes until rows are computed that come now.
    fn finish(
        &mut self,
        id: QueueId,
        shape: Option<&[usize]>,
        rows: usize,
        priority: Priority,
        preparing: usize,
        now: Instant,
    ) -> Option<Duration> {
        let queue = self.queues.get(&id)?;
        if queue.queued == 0 && queue.running == 0 {
            return None;
        }
        let curve = shape.map_or_else(|| queue.last_curve(), |shape| queue.curve(shape))?;
        let full = queue.full(curve);
        let total = queue.rows_before(shape, priority) + preparing + rows;
        let ahead = (total - 1) / full;
        // What comes behind fills the own batch while others go before.
        let own = curve.exec(if ahead > 0 { full } else { total });
        let mut each = curve.exec(full);
        // While the rows ahead are computed, other models take their share, as far as they have work.
        let others = self.shares.others(&queue.model);
        if others > 0.0 && ahead > 0 {
            let theirs = self.queues.values().filter(|q| q.model != queue.model);
            let theirs: f64 = theirs.map(Lanes::seconds).sum();
            each += (each * others).min(theirs / ahead as f64);
        }
        let mut free = std::mem::take(&mut self.scratch);
        free.clear();
        let slots = queue.limits.instances.min(self.threads).max(1);
        let own_only = queue.running >= slots;
        let runs = self.running.iter().filter(|r| !own_only || r.queue == id);
        free.extend(runs.map(|r| r.ends.saturating_duration_since(now).as_secs_f64()));
        free.resize(free.len().max(if own_only { slots } else { self.threads }), 0.0);
        free.sort_unstable_by(f64::total_cmp);
        free.truncate(slots);
        self.let_pass(id, queue, shape, priority, &mut free);
        let seconds = finish(&mut free, ahead, each, own);
        self.scratch = free;
        Some(bounded(seconds))
    }

    /// Adds what the model has waiting in other lanes and versions to the seconds until each thread is free: among
    /// them it goes by age, and so before who comes now.
    fn let_pass(
        &self,
        id: QueueId,
        queue: &Lanes<W>,
        shape: Option<&[usize]>,
        priority: Priority,
        free: &mut [f64],
    ) {
        let slots = free.len().max(1);
        if let Some(shape) = shape {
            let lanes = queue.runs_before(priority, |lane| lane != shape) / slots as f64;
            free.iter_mut().for_each(|slot| *slot += lanes);
        }
        for (_, other) in self.queues.iter().filter(|(i, q)| **i != id && q.model == queue.model) {
            let theirs = other.limits.instances.clamp(1, self.threads.max(1));
            // As far as they are not those that this queue can't have anyway.
            let shared = (theirs + slots).saturating_sub(self.threads);
            let seconds = other.runs_before(priority, |_| true) / theirs as f64;
            free.iter_mut().take(shared).for_each(|slot| *slot += seconds);
        }
    }

    /// Counts work that was not taken: rows, and those of their images that no CPU time went into.
    pub fn refused(&mut self, id: QueueId, rows: usize, images: f64, now: Instant) {
        let part = self.decoders_part();
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let computing = queue.last_curve().map_or(0.0, |c| queue.work(c, rows));
        let decoding = queue.decoding.cpu(images) * part;
        queue.refused.add(computing + decoding, now);
    }
}

/// What no wrong estimate makes a panic of.
fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
}
