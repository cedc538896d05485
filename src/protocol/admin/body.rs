//! What changes bring: a JSON body, and whose it is.

use axum::body::Body;
use axum::http::Extensions;
use serde::de::DeserializeOwned;

use crate::control::By;
use crate::error::InferError;
use crate::protocol::access::Caller;
use crate::protocol::http::Shared;

/// Reads a JSON body; an empty one is the default of what is wanted.
pub async fn read<T: DeserializeOwned>(
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

/// Who makes a change. A key's name is told whatever its holder says.
pub fn by(caller: &Extensions, author: Option<&str>, reason: Option<&str>, otherwise: &str) -> By {
    let key = caller.get::<Caller>().map(Caller::name);
    let author = match (author, key) {
        (Some(author), Some(key)) if author != key => format!("{author} (key {key})"),
        (_, Some(key)) => key.to_owned(),
        (Some(author), None) => author.to_owned(),
        (None, None) => "admin".to_owned(),
    };
    let reason = reason.unwrap_or(otherwise).to_owned();
    By { author, reason, if_revision: None }
}
