//! The compute threads: take a batch, run it, hand its rows back.

use std::time::{Duration, Instant};

use super::job::{Job, Reply, Target};
use super::scheduler::{Ran, Shared};
use crate::engine::{self, Batch, BatchMode, EngineError};
use crate::tensor::Tensor;

pub(super) fn run(shared: &Shared) {
    let mut done = None;
    while let Some((run, batch)) = shared.take(done.take()) {
        let start = Instant::now();
        let mut as_one = true;
        if !batch.is_empty() {
            let _at_work = shared.headroom.at_work();
            shared.metrics.threads_busy.inc();
            as_one = compute(batch, start);
            shared.metrics.threads_busy.dec();
        }
        done = Some(Ran { run, took: start.elapsed(), as_one });
    }
}

/// Tells whether it was computed as one.
fn compute(batch: Vec<Job>, start: Instant) -> bool {
    let Some(target) = batch.first().map(|j| j.target.clone()) else { return true };
    batch.iter().for_each(|j| target.metrics.dequeued(start - j.enqueued));
    let ran = run_once(&target, &batch);
    let as_one = ran.is_ok();
    match ran {
        Ok((outputs, took)) => scatter(&target, batch, &outputs, start, took),
        // One bad row fails the whole run; alone it fails alone. Once, so that a broken engine
        // costs each request two runs and not more.
        Err(_) if batch.len() > 1 => {
            batch.into_iter().for_each(|job| match run_once(&target, std::slice::from_ref(&job)) {
                Ok((outputs, took)) => scatter(&target, vec![job], &outputs, start, took),
                Err(error) => fail(&target, job, error),
            })
        }
        Err(error) => batch.into_iter().for_each(|job| fail(&target, job, error.clone())),
    }
    as_one
}

fn run_once(target: &Target, jobs: &[Job]) -> Result<(Vec<Tensor>, Duration), EngineError> {
    let batch = Batch::gather(jobs.iter().map(|j| &j.inputs[..]));
    let start = Instant::now();
    let outputs = engine::run(target.engine, target.model.as_ref(), &batch);
    let took = start.elapsed();
    target.metrics.computed(batch.rows, took);
    if matches!(outputs, Err(EngineError::Panic { .. })) {
        target.metrics.panicked();
    }
    let outputs = outputs?;
    check_rows(target, &outputs, batch.rows)?;
    Ok((outputs, took))
}

/// An output with other rows than came in can't be given back by rows.
pub(super) fn check_rows(
    target: &Target,
    outputs: &[Tensor],
    rows: usize,
) -> Result<(), EngineError> {
    if target.model.signature().batch_mode == BatchMode::Whole {
        return Ok(());
    }
    match outputs.iter().find(|t| t.rows() != rows) {
        None => Ok(()),
        Some(odd) => Err(EngineError::Run {
            engine: target.engine,
            reason: format!("{rows} rows went in and {} came out", odd.rows()),
        }),
    }
}

fn scatter(target: &Target, jobs: Vec<Job>, outputs: &[Tensor], start: Instant, took: Duration) {
    let whole = target.model.signature().batch_mode == BatchMode::Whole;
    let mut at = 0;
    for job in jobs {
        let range = at..at + job.rows;
        at = range.end;
        let slice = |t: &Tensor| if whole { t.clone() } else { t.slice_rows(range.clone()) };
        let outputs = outputs.iter().map(slice).collect();
        let queued = start - job.enqueued;
        job.answer(Ok(Reply { outputs, queued, compute: took }));
    }
}

fn fail(target: &Target, job: Job, source: EngineError) {
    tracing::warn!(model = %target.name, version = target.version, error = %source, "a run failed");
    let error = target.failed(source);
    job.answer(Err(error));
}
