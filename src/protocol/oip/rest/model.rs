//! What is told of a model.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::path::Named;
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json as json_answer};
use crate::protocol::oip::model;
use crate::router::Selector;

pub async fn metadata(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
) -> Result<Response, HttpError> {
    shared.version(&spec).await?;
    let metadata = model::metadata(&shared.service.router, &spec)?;
    Ok(json_answer(StatusCode::OK, &metadata))
}

pub async fn ready(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
) -> Result<Response, HttpError> {
    let ready = shared.is_model_ready(&spec)?;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json_answer(status, &json!({ "name": spec.model, "ready": ready })))
}

pub async fn config(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
) -> Result<Response, HttpError> {
    shared.version(&spec).await?;
    let config = model::config(&shared.service.router, &spec)?;
    Ok(json_answer(StatusCode::OK, &config))
}

pub async fn stats(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
) -> Result<Response, HttpError> {
    let version = match spec.selector {
        Selector::Version(version) => version.to_string(),
        _ => String::new(),
    };
    Ok(statistics(&shared, &spec.model, &version)?)
}

pub async fn all_stats(State(shared): State<Arc<Shared>>) -> Result<Response, HttpError> {
    Ok(statistics(&shared, "", "")?)
}

fn statistics(shared: &Shared, model: &str, version: &str) -> Result<Response, InferError> {
    let stats = model::statistics(&shared.service.router, model, version)?;
    Ok(json_answer(StatusCode::OK, &json!({ "model_stats": stats })))
}
