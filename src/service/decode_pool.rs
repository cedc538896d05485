//! Image work off the async threads: a bounded pool that decodes, resizes and normalises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::turns::Turns;
use crate::batcher::Place;
use crate::error::InferError;
use crate::router::ServedVersion;
use crate::tensor::Tensor;
use crate::vision::{ImageLimits, Placement, VisionError};

/// Threads that turn encoded images into tensors.
pub struct DecodePool {
    threads: rayon::ThreadPool,
    turns: Arc<Turns>,
    capacity: usize,
    limits: ImageLimits,
    nobody: Arc<str>,
}

impl DecodePool {
    /// A pool of `threads` that lets `capacity` images of each model wait or be worked on.
    pub fn new(
        threads: usize,
        capacity: usize,
        limits: ImageLimits,
    ) -> Result<DecodePool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("ocelli-decode-{i}"))
            .build()?;
        let (turns, nobody) = (Arc::default(), "".into());
        Ok(DecodePool { threads, turns, capacity, limits, nobody })
    }

    /// One row a picture, all in one tensor, and how each was laid into it. `place` is the request's.
    pub async fn preprocess(
        &self,
        version: &Arc<ServedVersion>,
        place: &mut Place,
        images: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<(Tensor, Vec<Placement>), InferError> {
        let started = Instant::now();
        // More pictures than there are places could never be admitted together.
        let places = images.len().clamp(1, self.capacity);
        let name = &version.queue.target().name;
        let places = self.turns.places(name, places, self.capacity).ok_or_else(|| {
            version.queue.no_decoder(images.len());
            InferError::DecodersBusy(self.capacity)
        })?;
        let Some((_, pipeline)) = &version.image else {
            return Err(version.invalid("the model takes no images".to_owned()));
        };
        let waiting = version.queue.decode(place, images.len(), deadline)?;
        let decode = |image: Bytes| {
            let (pipeline, limits, one) = (pipeline.clone(), self.limits, waiting.one());
            self.submit(Some(version), move || {
                let (began, cpu) = (Instant::now(), thread_time());
                let decoded = pipeline.run(&image, &limits);
                one.took(began.elapsed(), thread_time().saturating_sub(cpu));
                decoded
            })
        };
        let jobs: Vec<_> = images.into_iter().map(decode).collect();
        let (mut rows, mut placements) = (Vec::new(), Vec::new());
        for (i, job) in jobs.into_iter().enumerate() {
            let decoded = tokio::time::timeout_at(deadline.into(), job).await;
            let decoded = decoded
                .map_err(|_| version.queue.target().late(deadline - started))?
                .map_err(|_| InferError::Internal("an image decoder panicked".to_owned()))?;
            let (row, placement) = decoded.map_err(|e| blame(version, i, &e))?;
            rows.push(row);
            placements.push(placement);
        }
        drop((places, waiting));
        let tensor = Tensor::concat_rows(&rows)
            .ok_or_else(|| version.invalid("the request has no image".to_owned()))?;
        version.queue.target().metrics.preprocessed(started.elapsed());
        Ok((tensor, placements))
    }

    /// Runs any CPU work here, for a version where it is known for which. What bounds it is the places that its
    /// callers hold in a queue.
    pub async fn run<T: Send + 'static>(
        &self,
        version: Option<&ServedVersion>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, InferError> {
        let result = self.submit(version, work).await;
        result.map_err(|_| InferError::Internal("a decoder panicked".to_owned()))
    }

    /// Nothing comes of work that panics, as a decoder may on a hostile file, or that nobody waits
    /// for any more.
    fn submit<T: Send + 'static>(
        &self,
        version: Option<&ServedVersion>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (tx, rx) = oneshot::channel();
        let job = move || {
            if tx.is_closed() {
                return;
            }
            if let Ok(result) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                drop(tx.send(result));
            }
        };
        let of = |version: &ServedVersion| {
            (version.queue.target().name.clone(), version.queue.limits().weight)
        };
        let (model, weight) = version.map_or_else(|| (self.nobody.clone(), 1.0), of);
        self.turns.push(&model, weight, Box::new(job));
        let turns = self.turns.clone();
        self.threads.spawn(move || turns.run_next(|| thread_time().as_secs_f64()));
        rx
    }
}

/// CPU time of the calling thread: what of the clock's time others did not take.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn blame(version: &ServedVersion, index: usize, error: &VisionError) -> InferError {
    if error.is_callers_fault() {
        version.invalid(format!("image {index}: {error}"))
    } else {
        InferError::Internal(error.to_string())
    }
}
