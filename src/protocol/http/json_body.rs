//! A JSON body that is small: a change, feedback, a command.

use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Shared;
use crate::error::InferError;

/// Reads a JSON body; an empty one is the default of what is wanted.
pub async fn json_body<T: DeserializeOwned>(
    shared: &Shared,
    body: &mut Body,
    empty: Option<T>,
    example: &str,
) -> Result<T, InferError> {
    let bytes = small_body(shared, body).await?;
    match empty {
        Some(empty) if bytes.is_empty() => Ok(empty),
        _ => serde_json::from_slice(&bytes)
            .map_err(|e| InferError::Invalid(format!("{e}; an example: {example}"))),
    }
}

/// Reads a body whose sender has as long as a request has for its answer.
pub async fn small_body(shared: &Shared, body: &mut Body) -> Result<Bytes, InferError> {
    let patience = shared.service.default_timeout();
    let late = || InferError::Late(format!("the body did not come within {patience:?}"));
    let read = shared.bodies.read_by(body, Instant::now() + patience, late).await?;
    Ok(read.data.to_bytes())
}
