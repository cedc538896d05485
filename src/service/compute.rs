//! A request that was routed becomes outputs: its images become tensors, it waits, it is computed; or an
//! answer that is kept says the same.

use std::time::{Duration, Instant};

use super::{InferenceService, Request, Response, Routed};
use crate::batcher::{Place, Reply};
use crate::cache::{Cache, Kept, Key};
use crate::error::InferError;
use crate::input::InputValue;
use crate::telemetry::trace::Stage;
use crate::tensor::Tensor;

/// Outputs, and how they came to be.
pub(super) struct Computed {
    pub response: Response,
    /// None if the answer was kept.
    pub run: Option<Run>,
}

/// A run of the engine that a request had a part in.
#[derive(Default)]
pub(super) struct Run {
    /// As the model got them, if they are wanted.
    pub bound: Option<Vec<Tensor>>,
    pub queued: Duration,
    pub preprocess: Duration,
    pub compute: Duration,
}

impl InferenceService {
    /// Computes a request, or finds its answer. `keep_bound`: whether what the model got is wanted.
    pub(super) async fn answer(
        &self,
        routed: &Routed,
        place: Place,
        request: Request,
        keep_bound: bool,
    ) -> Result<Computed, InferError> {
        match &routed.version.cache {
            Some(cache) if request.fresh => {
                cache.skipped();
                self.compute(routed, place, request, keep_bound).await
            }
            Some(cache) => self.recall(cache, routed, place, request, keep_bound).await,
            None => self.compute(routed, place, request, keep_bound).await,
        }
    }

    async fn recall(
        &self,
        cache: &Cache,
        routed: &Routed,
        place: Place,
        request: Request,
        keep_bound: bool,
    ) -> Result<Computed, InferError> {
        let (began, deadline) = (Instant::now(), request.deadline);
        let inputs = request.inputs.clone();
        let bytes = inputs.iter().map(|(_, value)| value.bytes()).sum();
        let key = self.work(Some(&routed.version), bytes, move || Key::of(&inputs)).await?;
        // Taken by whichever request computes: where it still lies here afterwards, another one did.
        let mut held = Some((place, request));
        let stats = &routed.version.queue.target().metrics.stats;
        loop {
            let mut computed = None;
            let compute = async {
                let (place, request) = held.take().ok_or(InferError::ShuttingDown)?;
                let done = self.compute(routed, place, request, keep_bound).await?;
                let kept = done.response.as_kept().apart();
                computed = Some(done);
                Ok(kept)
            };
            let got = tokio::time::timeout_at(deadline.into(), cache.get_or(key, compute)).await;
            match (got.map_err(|_| routed.late(deadline))?, computed) {
                (_, Some(computed)) => {
                    cache.missed().await;
                    stats.recalled(false, began.elapsed());
                    routed.ticket.recalled.set(false).ok();
                    return Ok(computed);
                }
                (Ok(Kept { outputs, placements }), None) => {
                    cache.hit();
                    stats.recalled(true, began.elapsed());
                    routed.ticket.recalled.set(true).ok();
                    let response = Response { outputs, placements };
                    return Ok(Computed { response, run: None });
                }
                // Who computed it failed for reasons of its own, such as less time: one who waited goes on.
                (Err(error), None) if held.is_some() && error.is_of_one_request() => {}
                (Err(error), None) => return Err((*error).clone()),
            }
        }
    }

    async fn compute(
        &self,
        routed: &Routed,
        mut place: Place,
        request: Request,
        keep_bound: bool,
    ) -> Result<Computed, InferError> {
        let (version, deadline) = (&routed.version, request.deadline);
        // Where answers are kept, only now is it known that none is.
        version.queue.admit(&mut place)?;
        let (mut named, mut placements) = (Vec::with_capacity(request.inputs.len()), Vec::new());
        let mut preprocess = Duration::ZERO;
        for (name, value) in request.inputs {
            let tensor = match value {
                InputValue::Tensor(tensor) => tensor,
                InputValue::Images(images) => {
                    let began = Instant::now();
                    let decoded = self.pool.preprocess(version, &mut place, images, deadline);
                    let (tensor, places) = decoded.await?;
                    preprocess += began.elapsed();
                    routed.passed(Stage::Preprocess, began.elapsed());
                    placements = places;
                    tensor
                }
            };
            named.push((name, tensor));
        }
        let inputs = version.bind(named)?;
        if inputs.iter().any(|t| t.rows() == 0) && !inputs.iter().all(|t| t.shape().is_empty()) {
            return Err(version.invalid("the request has no rows".to_owned()));
        }
        let bound = keep_bound.then(|| inputs.clone());
        let reply = version.queue.infer(place, inputs, deadline).await?;
        let Reply { outputs, queued, compute, .. } = reply;
        version.queue.target().metrics.stats.served(queued, preprocess, compute);
        if let Some(trace) = &routed.trace {
            let computing = Instant::now() - compute;
            trace.at(Stage::Queue, computing - queued, queued);
            trace.at(Stage::Compute, computing, compute);
        }
        let run = Run { bound, queued, preprocess, compute };
        Ok(Computed { response: Response { outputs, placements }, run: Some(run) })
    }
}
