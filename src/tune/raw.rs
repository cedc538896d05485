//! The engine alone: how long its runs take on all threads at once. `ocelli bench` tells it, too.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::engine::{self, Batch, EngineError, Model};

/// Seconds each run took, on so many threads for so long, and so often on each at the least. Runs that warm up
/// come before and do not count.
pub fn time_runs(
    engine: &'static str,
    model: &dyn Model,
    batch: &Batch,
    threads: usize,
    lasts: Duration,
    least: usize,
) -> Result<Vec<f64>, EngineError> {
    let barrier = Barrier::new(threads);
    let once = || {
        let start = Instant::now();
        engine::run(engine, model, batch)?;
        Ok::<f64, EngineError>(start.elapsed().as_secs_f64())
    };
    once()?;
    let worker = || {
        // Who failed would keep the others waiting.
        let warm = once();
        barrier.wait();
        warm?;
        let (start, mut took) = (Instant::now(), Vec::new());
        while took.len() < least || start.elapsed() < lasts {
            took.push(once()?);
        }
        Ok::<_, EngineError>(took)
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut took = Vec::new();
    for joined in all {
        let reason = || "a measuring thread panicked".to_owned();
        took.extend(joined.map_err(|_| EngineError::Panic { engine, reason: reason() })??);
    }
    Ok(took)
}
