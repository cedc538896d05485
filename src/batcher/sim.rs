//! The real [`Core`] in virtual time: traffic made of seeds, an engine that only takes its time. For tests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::admission::Slo;
use super::core::{Core, Limits, Next, Priority, QueueId, Run, Threads, Work};
use super::cost::Curve;
use super::rule::Rule;
use crate::stats::sim::Rng;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Callers that know nothing of each other.
    Poisson,
    /// Two states, one with five times the other's rate, each held for a random time (MMPP).
    Bursty,
    /// A day's rise and fall, from a quarter of the mean to seven quarters, thrice over.
    Diurnal,
    /// Pareto gaps of infinite variance: long silences, and everything at once.
    HeavyTailed,
}

pub const TRAFFICS: [Traffic; 4] =
    [Traffic::Poisson, Traffic::Bursty, Traffic::Diurnal, Traffic::HeavyTailed];

/// `n` times of arrival in seconds at `rate` a second in the mean.
pub fn arrivals(traffic: Traffic, rate: f64, n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    let (mut now, mut times) = (0.0, Vec::with_capacity(n));
    // A state lasts for fifty requests in the mean.
    let (mut quick, mut until) = (false, 0.0);
    let length = n as f64 / rate;
    while times.len() < n {
        now += match traffic {
            Traffic::Poisson => rng.exponential() / rate,
            Traffic::Bursty => {
                if now >= until {
                    quick = !quick;
                    until = now + rng.exponential() * 50.0 / rate;
                }
                rng.exponential() / (rate * if quick { 5.0 / 3.0 } else { 1.0 / 3.0 })
            }
            Traffic::Diurnal => {
                let phase = now / length * 3.0 * std::f64::consts::TAU;
                rng.exponential() / (rate * (1.0 - 0.75 * phase.cos()).max(0.05))
            }
            Traffic::HeavyTailed => {
                const ALPHA: f64 = 1.5;
                let least = (ALPHA - 1.0) / ALPHA / rate;
                least * rng.uniform().powf(-1.0 / ALPHA)
            }
        };
        times.push(now);
    }
    times
}

/// A model, its engine and its traffic.
#[derive(Clone)]
pub struct Stream {
    pub model: &'static str,
    pub limits: Limits,
    pub curve: Curve,
    /// From arrival.
    pub deadline: f64,
    /// Seconds.
    pub arrivals: Vec<f64>,
    /// Those who wait for their answer, and then ask again.
    pub callers: Option<Callers>,
}

/// Each answer is followed by another request.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    /// Seconds from an answer to the next request.
    pub trip: f64,
    /// Requests beyond the stream's arrivals.
    pub more: usize,
}

/// What became of a stream.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers within their deadline.
    pub good: usize,
    pub refused: usize,
    /// Taken, and dropped before compute.
    pub dropped: usize,
    /// Seconds of compute.
    pub compute: f64,
    pub batches: usize,
    /// Of the answers, ascending, in seconds.
    pub latencies: Vec<f32>,
}

impl Outcome {
    pub fn quantile(&self, q: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((q * last as f64) as usize).copied().unwrap_or(f32::INFINITY).into()
    }

    /// The share of the answers that took no longer.
    pub fn within(&self, seconds: f64) -> f64 {
        let n = self.latencies.partition_point(|l| f64::from(*l) <= seconds);
        n as f64 / self.latencies.len().max(1) as f64
    }
}

/// Limits without a bound on what waits.
pub fn limits(rule: Rule, max_batch: usize, delay_ms: f64, slo: Option<Slo>) -> Limits {
    Limits {
        rule,
        max_batch,
        max_queue_delay: Duration::from_secs_f64(delay_ms / 1e3),
        max_queue_rows: usize::MAX / 2,
        instances: 64,
        slo,
        ..Limits::DEFAULT
    }
}

#[derive(Clone, Copy)]
pub struct Item {
    stream: u32,
    at: Instant,
    deadline: Instant,
}

impl Work for Item {
    fn rows(&self) -> usize {
        1
    }
    fn enqueued(&self) -> Instant {
        self.at
    }
    fn since(&self) -> Instant {
        self.at
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
    fn priority(&self) -> Priority {
        Priority::Normal
    }
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// A batch under way, the earliest end first.
struct Busy {
    ends: Instant,
    order: usize,
    took: f64,
    run: Run,
    batch: Vec<Item>,
}

impl PartialEq for Busy {
    fn eq(&self, other: &Busy) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Busy {}
impl PartialOrd for Busy {
    fn partial_cmp(&self, other: &Busy) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Busy {
    fn cmp(&self, other: &Busy) -> std::cmp::Ordering {
        (self.ends, self.order).cmp(&(other.ends, other.order))
    }
}

/// Runs the streams side by side on `threads` until all is done.
pub fn run(threads: usize, streams: &[Stream], seed: u64) -> Vec<Outcome> {
    let mut world = World::new(threads, streams, seed);
    world.go(|_, _| ());
    world.outcomes.iter_mut().for_each(|o| o.latencies.sort_unstable_by(f32::total_cmp));
    world.outcomes
}

/// The state of a simulation.
pub struct World<'a> {
    pub core: Core<Item>,
    pub outcomes: Vec<Outcome>,
    streams: &'a [Stream],
    queues: Vec<QueueId>,
    threads: usize,
    busy: BinaryHeap<Reverse<Busy>>,
    coming: BinaryHeap<Reverse<(Instant, u32)>>,
    more: Vec<usize>,
    rng: Rng,
    started: usize,
}

impl<'a> World<'a> {
    pub fn new(threads: usize, streams: &'a [Stream], seed: u64) -> World<'a> {
        let mut core = Core::new(Threads { compute: threads, decode: threads });
        let queues = streams.iter().map(|s| core.open(s.model.into(), s.limits)).collect();
        let outcomes = streams.iter().map(|_| Outcome::default()).collect();
        let (busy, coming, rng) = (BinaryHeap::new(), BinaryHeap::new(), Rng::new(seed));
        let more = streams.iter().map(|s| s.callers.map_or(0, |c| c.more)).collect();
        World { core, outcomes, streams, queues, threads, busy, coming, more, rng, started: 0 }
    }

    /// Until all is done; `watch` is called before each arrival.
    pub fn go(&mut self, mut watch: impl FnMut(&Core<Item>, Instant)) {
        let t0 = Instant::now();
        let at = |seconds: f64| t0 + Duration::from_secs_f64(seconds);
        for (i, stream) in self.streams.iter().enumerate() {
            self.coming.extend(stream.arrivals.iter().map(|t| Reverse((at(*t), i as u32))));
        }
        let mut wake: Option<Instant> = None;
        let mut dead = Vec::new();
        loop {
            let ends = self.busy.peek().map(|Reverse(b)| b.ends);
            let comes = self.coming.peek().map(|Reverse((t, _))| *t);
            let Some(now) = [ends, comes, wake].into_iter().flatten().min() else { return };
            if ends == Some(now) {
                if let Some(Reverse(busy)) = self.busy.pop() {
                    self.end(busy, now);
                }
            } else if comes == Some(now)
                && let Some(Reverse((_, stream))) = self.coming.pop()
            {
                watch(&self.core, now);
                self.arrive(stream, now, &mut dead);
            }
            wake = None;
            while self.busy.len() < self.threads {
                match self.core.next(now, &mut dead) {
                    Next::Run(run, batch) => self.start(run, batch, now),
                    Next::WaitUntil(at) => {
                        wake = Some(at);
                        break;
                    }
                    Next::Idle => break,
                }
            }
            for item in dead.drain(..) {
                self.outcomes[item.stream as usize].dropped += 1;
            }
        }
    }

    fn arrive(&mut self, stream: u32, now: Instant, dead: &mut Vec<Item>) {
        let deadline = now + Duration::from_secs_f64(self.streams[stream as usize].deadline);
        let item = Item { stream, at: now, deadline };
        let queue = self.queues[stream as usize];
        if self.core.push(queue, &[3], vec![item], now, dead).is_err() {
            self.outcomes[stream as usize].refused += 1;
        }
    }

    fn start(&mut self, run: Run, batch: Vec<Item>, now: Instant) {
        self.started += 1;
        let took = batch.first().map_or(0.0, |first| {
            let exec = self.streams[first.stream as usize].curve.exec(batch.len());
            // A thread that loses its core now and then.
            let lost = if self.rng.hit(0.002) { 3.0 } else { 1.0 };
            exec * lost * (0.05 * self.rng.normal()).exp()
        });
        let ends = now + Duration::from_secs_f64(took);
        self.busy.push(Reverse(Busy { ends, order: self.started, took, run, batch }));
    }

    fn end(&mut self, busy: Busy, now: Instant) {
        self.core.done(busy.run, Duration::from_secs_f64(busy.took), true, now);
        let Some(first) = busy.batch.first() else { return };
        let outcome = &mut self.outcomes[first.stream as usize];
        outcome.batches += 1;
        outcome.compute += busy.took;
        let stream = first.stream;
        let more = &mut self.more[stream as usize];
        let again = busy.batch.len().min(*more);
        *more -= again;
        if let Some(callers) = self.streams[stream as usize].callers {
            let next = now + Duration::from_secs_f64(callers.trip);
            self.coming.extend((0..again).map(|_| Reverse((next, stream))));
        }
        for item in &busy.batch {
            outcome.latencies.push((now - item.at).as_secs_f32());
            outcome.good += usize::from(now <= item.deadline);
        }
    }
}
