//! The repository's index, and its models loaded and unloaded by request
//! (docs/protocol/extension_model_repository.md of Triton).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::path::Named;
use crate::error::InferError;
use crate::protocol::http::{Asks, HttpError, Shared, asks, json as json_answer, small_body};
use crate::protocol::oip::infer::no_override;
use crate::protocol::oip::model;

#[derive(Default, Deserialize)]
struct Index {
    ready: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Control {
    /// `unload_dependents` means nothing where no model depends on another.
    parameters: Option<BTreeMap<String, IgnoredAny>>,
}

pub async fn index(
    State(shared): State<Arc<Shared>>,
    mut body: Body,
) -> Result<Response, HttpError> {
    let index: Index = read(&shared, &mut body).await?;
    let only_ready = index.ready.unwrap_or_default();
    Ok(json_answer(StatusCode::OK, &model::index(&shared.service.router, only_ready)))
}

pub async fn load(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, mut body) = request.into_parts();
    let commands = shared.commands(&parts.extensions, "load", &spec.model)?;
    let Asks { timeout, .. } = asks(&parts.headers)?;
    let asked: Control = read(&shared, &mut body).await?;
    let overrides = |name: &String| name == "config" || name.starts_with("file:");
    if let Some(name) = asked.parameters.unwrap_or_default().keys().find(|name| overrides(name)) {
        return Err(no_override(name).into());
    }
    shared.wait(timeout, commands.load(&spec.model)).await?;
    Ok(done())
}

pub async fn unload(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
    request: Request,
) -> Result<Response, HttpError> {
    let (parts, mut body) = request.into_parts();
    let commands = shared.commands(&parts.extensions, "unload", &spec.model)?;
    let Asks { timeout, .. } = asks(&parts.headers)?;
    let _: Control = read(&shared, &mut body).await?;
    shared.wait(timeout, commands.unload(&spec.model)).await?;
    Ok(done())
}

/// Triton answers with no body at all; an empty object is read by those who expect JSON too.
fn done() -> Response {
    json_answer(StatusCode::OK, &serde_json::json!({}))
}

/// A small JSON body, which may be left out.
async fn read<T: DeserializeOwned + Default>(
    shared: &Shared,
    body: &mut Body,
) -> Result<T, InferError> {
    let text = small_body(shared, body).await?;
    if text.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let parsed = serde_json::from_slice(&text);
    parsed.map_err(|e| InferError::Invalid(format!("JSON Parse error: {e}")))
}
