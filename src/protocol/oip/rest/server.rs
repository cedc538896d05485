//! What is told of the server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::protocol::http::{Shared, json as json_answer};
use crate::protocol::oip::model::ServerMetadata;

pub async fn metadata() -> Response {
    json_answer(StatusCode::OK, &ServerMetadata::THIS)
}

pub async fn live() -> Response {
    json_answer(StatusCode::OK, &json!({ "live": true }))
}

/// The status is for probes, the body for people. (The key is what the answer is about; the
/// specification's own table has `live` here too, copied from the one above it.)
pub async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let ready = shared.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, &json!({ "ready": ready }))
}

/// KServe's list, which neither the specification nor Triton has.
pub async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.service.router.snapshot();
    json_answer(StatusCode::OK, &json!({ "models": snapshot.names() }))
}
