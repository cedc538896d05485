//! A JSON body that is small: a change, feedback.

use axum::body::Body;
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
    let body = shared.bodies.read(body).await?;
    let bytes = body.data.to_bytes();
    match empty {
        Some(empty) if bytes.is_empty() => Ok(empty),
        _ => serde_json::from_slice(&bytes)
            .map_err(|e| InferError::Invalid(format!("{e}; an example: {example}"))),
    }
}
