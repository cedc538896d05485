//! Computing past the queues, on a thread of the caller's: golden requests, and copies for shadows, which give
//! way to answers. What is computed must already be bound to the signature.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::headroom::Headroom;
use super::job::{Reply, Target, rejoin};
use super::worker::check_rows;
use crate::engine::{self, Batch, EngineError, Pace};
use crate::error::InferError;
use crate::tensor::Tensor;

/// Computes rows on the thread that calls, as fast as it can.
pub fn run_now(target: &Target, max_batch: usize, inputs: &[Tensor]) -> Result<Reply, InferError> {
    let run = |batch: &Batch| engine::run(target.engine, target.model.as_ref(), batch);
    run_parts(target, max_batch, inputs, run).map_err(|source| target.failed(source))?
}

/// How work ended that gave way to answers.
pub enum Beside {
    /// With a reply, whose time is what it computed.
    Done(Reply),
    /// There was no room for too long.
    Shed,
    /// The engine failed.
    Failed(InferError),
}

/// Computes rows on the thread that calls, step by step, while there is headroom. Gives up at `until`.
pub fn run_beside(
    target: &Target,
    max_batch: usize,
    inputs: &[Tensor],
    headroom: &Headroom,
    until: Instant,
) -> Beside {
    let pace = Steps { headroom, until, paused: Cell::default() };
    let run = |batch: &Batch| engine::run_paced(target.engine, target.model.as_ref(), batch, &pace);
    match run_parts(target, max_batch, inputs, run) {
        Ok(Ok(reply)) => {
            let compute = reply.compute.saturating_sub(pace.paused.get());
            Beside::Done(Reply { compute, queued: pace.paused.get(), ..reply })
        }
        Ok(Err(error)) => Beside::Failed(error),
        Err(EngineError::GaveWay) => Beside::Shed,
        Err(source) => Beside::Failed(target.failed(source)),
    }
}

struct Steps<'a> {
    headroom: &'a Headroom,
    until: Instant,
    paused: Cell<Duration>,
}

impl Pace for Steps<'_> {
    fn go_on(&self) -> bool {
        let start = Instant::now();
        let room = self.headroom.wait(self.until);
        self.paused.set(self.paused.get() + start.elapsed());
        room
    }
}

fn run_parts(
    target: &Target,
    max_batch: usize,
    inputs: &[Tensor],
    run: impl Fn(&Batch) -> Result<Vec<Tensor>, EngineError>,
) -> Result<Result<Reply, InferError>, EngineError> {
    let rows = inputs.first().map_or(1, Tensor::rows);
    let step = target.split_at(max_batch).min(rows.max(1));
    let mut parts = Vec::new();
    for start in (0..rows).step_by(step) {
        let range = start..rows.min(start + step);
        let slice =
            |t: &Tensor| if range.len() == rows { t.clone() } else { t.slice_rows(range.clone()) };
        let inputs: Vec<_> = inputs.iter().map(slice).collect();
        let batch = Batch::of(&inputs);
        let start = Instant::now();
        let outputs = run(&batch)?;
        check_rows(target, &outputs, batch.rows)?;
        parts.push(Reply { outputs, queued: Duration::ZERO, compute: start.elapsed() });
    }
    Ok(rejoin(parts))
}
