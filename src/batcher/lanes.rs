//! The queue of one version: its lanes by shape, what they cost, what it keeps of its objective. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Aim;
use super::core::{Limits, Priority, Work};
use super::cost::{Cost, Curve};
use super::decoding::Decoding;
use super::demand::Rate;
use super::lane::{Bounds, Lane};
use super::load::MEMORY;
use super::rule::Rule;

/// Lanes that are kept though nothing waits in them, for what was learnt there. A version that takes any
/// shape would otherwise keep one for each it ever saw.
const KEPT: usize = 16;

/// All but the rows of a shape: what two pieces of work must have in common to share a batch.
pub type Shape = Arc<[usize]>;

/// The lanes of a version.
pub(super) struct Lanes<W> {
    pub model: Arc<str>,
    pub limits: Limits,
    pub lanes: BTreeMap<Shape, Lane<W>>,
    /// Rows that wait.
    pub queued: usize,
    /// Batches under way.
    pub running: usize,
    /// Images on their way here.
    pub decoding: Decoding,
    /// Seconds of work that came in lately.
    pub demand: Rate,
    /// Seconds of work that were taken on, and those that were turned away for want of time or room.
    pub served: Rate,
    pub refused: Rate,
    aim: Aim,
    /// What was learnt before there was a lane.
    cost: Cost,
    /// Rows up to which a larger batch pays, by the shape that ran last.
    pays: usize,
    batches: u64,
}

impl<W: Work> Lanes<W> {
    pub fn new(model: Arc<str>, limits: Limits) -> Lanes<W> {
        Lanes {
            model,
            limits,
            lanes: BTreeMap::new(),
            queued: 0,
            running: 0,
            decoding: Decoding::default(),
            demand: Rate::new(MEMORY),
            served: Rate::new(MEMORY),
            refused: Rate::new(MEMORY),
            aim: Aim::default(),
            cost: Cost::default(),
            pays: usize::MAX,
            batches: 0,
        }
    }

    /// Whether one more of its batches may run.
    pub fn may_run(&self) -> bool {
        self.running < self.limits.instances
    }

    /// What batches of a shape cost, or as long as none ran, those of the shape that ran last.
    pub fn curve(&self, shape: &[usize]) -> Option<Curve> {
        self.lanes.get(shape).and_then(|l| l.cost.curve()).or_else(|| self.last_curve())
    }

    /// What batches of the shape cost that ran last.
    pub fn last_curve(&self) -> Option<Curve> {
        self.last_cost().curve()
    }

    fn last_cost(&self) -> &Cost {
        self.lanes.values().max_by_key(|l| l.used).map_or(&self.cost, |l| &l.cost)
    }

    /// Rows of the largest batch. Who comes just when one was started waits for it and then for the own one,
    /// so with an objective half the time is what a batch may take.
    pub fn full(&self, curve: Curve) -> usize {
        if self.limits.alone {
            return 1;
        }
        let most = match self.limits.rule {
            Rule::Tuned => self.limits.max_batch.min(self.pays),
            Rule::All => self.limits.max_batch,
        };
        let fits =
            self.limits.slo.map_or(most, |s| curve.rows_within(s.within.as_secs_f64() / 2.0));
        fits.clamp(1, most)
    }

    /// Seconds of a compute thread that so many rows take in full batches.
    pub fn work(&self, curve: Curve, rows: usize) -> f64 {
        self.runs(curve, rows) * self.limits.cores
    }

    /// Seconds that runs of so many rows take in full batches.
    fn runs(&self, curve: Curve, rows: usize) -> f64 {
        rows as f64 * curve.share(self.full(curve))
    }

    /// The part of the objective's time that is aimed at.
    pub fn budget(&self) -> Option<Duration> {
        self.limits.slo.map(|slo| slo.within.mul_f64(self.aim.part()))
    }

    /// How long work may have been here when it is begun, so that one row is in time.
    pub fn patience(&self, curve: Option<Curve>) -> Option<Duration> {
        let slo = self.limits.slo?;
        let least = curve.map_or(0.0, |c| c.exec(1));
        // What takes longer than its objective anyway is computed as long as there is no wait.
        Some(slo.within.saturating_sub(Duration::from_secs_f64(least)).max(slo.within / 8))
    }

    /// Seconds of compute, in full batches, that wait.
    pub fn seconds(&self) -> f64 {
        self.runs_before(Priority::Low, |_| true) * self.limits.cores
    }

    /// Seconds that runs take, in full batches, of what waits in some of the lanes and goes before work of that
    /// priority.
    pub fn runs_before(&self, priority: Priority, of: impl Fn(&[usize]) -> bool) -> f64 {
        let seconds = |(shape, lane): (&Shape, &Lane<W>)| {
            let curve = self.curve(shape)?;
            Some(self.runs(curve, lane.rows_before(priority)))
        };
        let lanes = self.lanes.iter().filter(|(shape, lane)| !lane.is_empty() && of(shape));
        lanes.filter_map(seconds).sum()
    }

    /// Rows before one of that priority in its lane, or in all of them where it is not known which.
    pub fn rows_before(&self, shape: Option<&[usize]>, priority: Priority) -> usize {
        match shape.and_then(|s| self.lanes.get(s)) {
            Some(lane) => lane.rows_before(priority),
            None if shape.is_some() => 0,
            None => self.lanes.values().map(|lane| lane.rows_before(priority)).sum(),
        }
    }

    /// Queues `work`; `idle` is now, if a thread has nothing to do.
    pub fn push(&mut self, shape: &[usize], work: Vec<W>, idle: Option<Instant>) {
        self.queued += work.iter().map(Work::rows).sum::<usize>();
        let lane = match self.lanes.get_mut(shape) {
            Some(lane) => lane,
            // What another shape costs is more than nothing, and gives way to what this one does.
            None => {
                let cost = self.last_cost().guess();
                let lane = self.lanes.entry(shape.into()).or_default();
                lane.cost = cost;
                lane
            }
        };
        if let Some(now) = idle {
            lane.idle(now);
        }
        work.into_iter().for_each(|w| lane.push(w));
    }

    /// Takes out what nobody waits for any more; gives its rows.
    pub fn sweep(&mut self, now: Instant, dead: &mut Vec<W>) -> usize {
        let rows = self.lanes.values_mut().map(|lane| lane.sweep(now, dead)).sum();
        self.queued -= rows;
        rows
    }

    /// The same at the heads of the lanes, and what missed its objective there.
    pub fn sweep_heads(&mut self, now: Instant, dead: &mut Vec<W>) -> usize {
        let curve = self.last_curve();
        let patience = self.patience(curve);
        let rows = self.lanes.values_mut().map(|l| l.sweep_heads(now, patience, dead)).sum();
        self.queued -= rows;
        rows
    }

    /// A batch of at most so many rows, and how many went out of the queue for it, dead ones with it.
    pub fn take(
        &mut self,
        shape: &Shape,
        rows: usize,
        now: Instant,
        dead: &mut Vec<W>,
    ) -> (Vec<W>, usize) {
        let patience = self.patience(self.curve(shape));
        let bounds = Bounds { rows, alone: self.limits.alone, patience };
        self.batches += 1;
        let Some(lane) = self.lanes.get_mut(shape) else { return (Vec::new(), 0) };
        let before = lane.rows();
        let batch = lane.take(bounds, now, dead);
        lane.used = self.batches;
        let gone = before - lane.rows();
        self.queued -= gone;
        self.running += 1;
        self.forget();
        (batch, gone)
    }

    fn forget(&mut self) {
        while self.lanes.len() > KEPT {
            let idle = self.lanes.iter().filter(|(_, l)| l.is_empty());
            let Some(oldest) = idle.min_by_key(|(_, l)| l.used).map(|(s, _)| s.clone()) else {
                return;
            };
            self.lanes.remove(&oldest);
        }
    }

    /// A batch ran so long before there was a lane.
    pub fn learn(&mut self, rows: usize, took: Duration) {
        self.cost.learn(rows, took);
        self.pays = pays(&self.cost);
    }

    /// A batch of that shape has run; `took` is what such a batch takes, if it tells that.
    pub fn ran(&mut self, shape: &[usize], rows: usize, took: Option<Duration>, now: Instant) {
        let Some(lane) = self.lanes.get_mut(shape) else { return };
        lane.ran(rows, now);
        if let Some(took) = took {
            lane.cost.learn(rows, took);
            self.pays = pays(&lane.cost);
        }
    }

    /// An answer came so long after its request.
    pub fn answered(&mut self, after: Duration) {
        if let Some(slo) = self.limits.slo {
            self.aim.answered(slo, after > slo.within);
        }
    }

    pub fn drain(self) -> Vec<W> {
        self.lanes.into_values().flat_map(|mut lane| lane.drain().collect::<Vec<_>>()).collect()
    }
}

/// Rows up to which a larger batch pays.
fn pays(cost: &Cost) -> usize {
    cost.pays_up_to().unwrap_or(usize::MAX).max(1)
}
