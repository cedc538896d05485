//! What all inference calls have in common: a place, inputs, a run, and what is made of its outputs.

use std::time::Instant;

use crate::error::InferError;
use crate::input::InputValue;
use crate::protocol::grpc::call::Context;
use crate::protocol::http::Asks;
use crate::router::ServedVersion;
use crate::service::{Request, Response, Routed};
use crate::telemetry::trace::Stage;

/// Inputs, by name.
pub type Inputs = Vec<(String, InputValue)>;

/// Takes a place, decodes the inputs, which is work over `bytes`, and runs them.
pub async fn compute(
    context: &Context,
    routed: &Routed,
    bytes: usize,
    decode: impl FnOnce(&ServedVersion) -> Result<Inputs, InferError> + Send + 'static,
) -> Result<Response, InferError> {
    let (service, version) = (&context.shared.service, &routed.version);
    let Asks { timeout, priority, fresh } = context.asks()?;
    let deadline = service.deadline(routed, timeout);
    let place = version.reserve(priority)?;
    let decoding = version.clone();
    let inputs = service.work(Some(version), bytes, move || decode(&decoding)).await??;
    service.infer(routed, place, Request { inputs, deadline, fresh }).await
}

/// Makes an answer of `bytes` of outputs.
pub async fn encode<R: Send + 'static>(
    context: &Context,
    routed: &Routed,
    bytes: usize,
    encode: impl FnOnce() -> R + Send + 'static,
) -> Result<R, InferError> {
    let began = Instant::now();
    let answer = context.shared.service.work(Some(&routed.version), bytes, encode).await;
    routed.passed(Stage::Encode, began.elapsed());
    answer
}
