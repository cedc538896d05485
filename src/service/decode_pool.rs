//! Image work off the async threads: a bounded pool that decodes, resizes and normalises.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use crate::error::InferError;
use crate::router::ServedVersion;
use crate::tensor::Tensor;
use crate::vision::{ImageLimits, Placement, VisionError};

/// Threads that turn encoded images into tensors.
pub struct DecodePool {
    threads: rayon::ThreadPool,
    places: Arc<Semaphore>,
    capacity: usize,
    limits: ImageLimits,
}

impl DecodePool {
    /// A pool of `threads` that lets `capacity` images wait or be worked on.
    pub fn new(
        threads: usize,
        capacity: usize,
        limits: ImageLimits,
    ) -> Result<DecodePool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("ocelli-decode-{i}"))
            .build()?;
        Ok(DecodePool { threads, places: Arc::new(Semaphore::new(capacity)), capacity, limits })
    }

    /// One row a picture, all in one tensor, and how each was laid into it.
    pub async fn preprocess(
        &self,
        version: &Arc<ServedVersion>,
        images: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<(Tensor, Vec<Placement>), InferError> {
        let started = Instant::now();
        // More pictures than there are places could never be admitted together.
        let places = images.len().clamp(1, self.capacity) as u32;
        let permit = self.places.clone().try_acquire_many_owned(places).map_err(|_| {
            version.queue.target().metrics.rejected("decoders_busy");
            InferError::DecodersBusy(self.capacity)
        })?;
        let jobs: Vec<_> = images.into_iter().map(|image| self.spawn(version, image)).collect();
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
        drop(permit);
        let tensor = Tensor::concat_rows(&rows)
            .ok_or_else(|| version.invalid("the request has no image".to_owned()))?;
        version.queue.target().metrics.preprocessed(started.elapsed());
        Ok((tensor, placements))
    }

    /// Runs any CPU work here. What bounds it is the places that its callers hold in a queue.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, InferError> {
        let (tx, rx) = oneshot::channel();
        self.threads.spawn(move || {
            if tx.is_closed() {
                return;
            }
            let run = std::panic::AssertUnwindSafe(work);
            if let Ok(result) = std::panic::catch_unwind(run) {
                drop(tx.send(result));
            }
        });
        rx.await.map_err(|_| InferError::Internal("a decoder panicked".to_owned()))
    }

    fn spawn(
        &self,
        version: &Arc<ServedVersion>,
        image: Bytes,
    ) -> oneshot::Receiver<Result<(Tensor, Placement), VisionError>> {
        let (tx, rx) = oneshot::channel();
        let pipeline = version.image.as_ref().map(|(_, pipeline)| pipeline.clone());
        let limits = self.limits;
        self.threads.spawn(move || {
            let Some(pipeline) = pipeline else { return };
            if tx.is_closed() {
                return;
            }
            // A decoder's panic on a hostile file must not end the pool's process.
            let run = std::panic::AssertUnwindSafe(|| pipeline.run(&image, &limits));
            if let Ok(result) = std::panic::catch_unwind(run) {
                drop(tx.send(result));
            }
        });
        rx
    }
}

fn blame(version: &ServedVersion, index: usize, error: &VisionError) -> InferError {
    if error.is_callers_fault() {
        version.invalid(format!("image {index}: {error}"))
    } else {
        InferError::Internal(error.to_string())
    }
}
