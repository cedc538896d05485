//! Starts the requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::arrivals::{Arrivals, Phase};
use crate::cli::{Load, Plan};
use crate::client::{Client, Outcome};
use crate::record::{Record, Sample};
use crate::watch::{self, Looks};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A run that is over.
pub struct Finished {
    /// What was asked.
    pub load: Load,
    /// Start and end of each phase, the warm-up being before the first.
    pub phases: Vec<(Duration, Duration)>,
    /// What came of it.
    pub record: Record,
    /// The server's process, if it was named.
    pub looks: Looks,
}

/// What the requests of a run share.
struct Run {
    client: Client,
    record: RefCell<Record>,
    start: Instant,
    in_flight: Cell<usize>,
    number: Cell<usize>,
}

/// Runs the plan to its end, or until Ctrl-C.
pub async fn run(plan: Plan) -> anyhow::Result<Finished> {
    let (load, warmup, pid) = (plan.load.clone(), plan.warmup, plan.server_pid);
    let lengths: Vec<Duration> = match &load {
        Load::Closed { lasts, .. } => vec![*lasts],
        Load::Open { phases, .. } => phases.iter().map(|p| p.lasts).collect(),
    };
    let mut phases = Vec::new();
    let mut at = warmup;
    for length in lengths {
        phases.push((at, at + length));
        at += length;
    }
    // The warm-up is a phase of its own in the books, and left out of the report.
    let ends = std::iter::once(warmup).chain(phases.iter().map(|p| p.1)).collect();
    let run = Rc::new(Run {
        client: Client::new(plan),
        record: RefCell::new(Record::new(ends)),
        start: Instant::now(),
        in_flight: Cell::new(0),
        number: Cell::new(0),
    });
    ensure!(pid.is_none_or(|pid| watch::look(pid).is_some()), "there is no process {pid:?}");
    let looks = Rc::new(RefCell::new(Looks::new()));
    if let Some(pid) = pid {
        let (looks, start) = (looks.clone(), run.start);
        tokio::task::spawn_local(async move {
            while let Some(look) = watch::look(pid) {
                looks.borrow_mut().push((start.elapsed(), look));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }
    let progress = tokio::task::spawn_local(progress(run.clone(), at));
    tokio::select! {
        () = drive(&run, &load, warmup, at) => {}
        _ = tokio::signal::ctrl_c() => eprintln!("interrupted: what is here is what was seen"),
    }
    progress.abort();
    let none = Record::new(Vec::new());
    let mut record = std::mem::replace(&mut *run.record.borrow_mut(), none);
    record.phases.remove(0);
    let looks = looks.take();
    Ok(Finished { load, phases, record, looks })
}

async fn drive(run: &Rc<Run>, load: &Load, warmup: Duration, end: Duration) {
    match load {
        Load::Closed { concurrency, .. } => closed(run, *concurrency, warmup, end).await,
        Load::Open { pattern, phases, seed, max_in_flight } => {
            let first = phases.first().map_or(1.0, |p| p.rate);
            let warm = Phase { rate: first, lasts: warmup };
            let all: Vec<Phase> = std::iter::once(warm).chain(phases.iter().copied()).collect();
            open(run, Arrivals::new(pattern, &all, *seed), *max_in_flight).await;
        }
    }
}

async fn closed(run: &Rc<Run>, concurrency: usize, warmup: Duration, end: Duration) {
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let run = run.clone();
        workers.spawn_local(async move {
            loop {
                let now = run.start.elapsed();
                if now >= end {
                    return;
                }
                if run.once(usize::from(now >= warmup), now).await == Outcome::NotConnected {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    while workers.join_next().await.is_some() {}
}

async fn open(run: &Rc<Run>, arrivals: Arrivals<'_>, max_in_flight: usize) {
    let mut requests = JoinSet::new();
    for (intended, phase) in arrivals {
        let wait = intended.saturating_sub(run.start.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        while requests.try_join_next().is_some() {}
        if run.in_flight.get() >= max_in_flight {
            run.record.borrow_mut().not_sent(phase);
            // Without this a generator that is behind would never read an answer.
            tokio::task::yield_now().await;
            continue;
        }
        let run = run.clone();
        requests.spawn_local(async move {
            run.once(phase, intended).await;
        });
        tokio::task::yield_now().await;
    }
    while requests.join_next().await.is_some() {}
}

impl Run {
    async fn once(&self, phase: usize, intended: Duration) -> Outcome {
        let number = self.number.replace(self.number.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        let (outcome, begun) = self.client.send(number).await;
        let ended = self.start.elapsed();
        let mut record = self.record.borrow_mut();
        record.max_in_flight = record.max_in_flight.max(self.in_flight.get());
        self.in_flight.set(self.in_flight.get() - 1);
        let begun = begun - self.start;
        let sent = self.client.body_len(number);
        record.add(Sample { phase, intended, begun, ended, outcome, sent });
        outcome
    }
}

async fn progress(run: Rc<Run>, end: Duration) {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let at = run.start.elapsed().as_secs() as usize;
        let record = run.record.borrow();
        let Some(last) = at.checked_sub(1).and_then(|at| record.seconds.get(at)) else { continue };
        eprintln!(
            "{at:>4} of {:.0} s   {:>6} sent  {:>6} ok  {:>6} refused  {:>4} failed",
            end.as_secs_f64(),
            last.sent,
            last.ok,
            last.refused,
            last.failed
        );
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
