//! Health and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{HttpError, Shared, json};
use crate::error::InferError;

/// That the server runs, in the words of KServe's first protocol.
#[derive(Serialize, ToSchema)]
pub struct Alive {
    /// `alive`.
    status: &'static str,
}

/// That the server runs.
#[derive(Serialize, ToSchema)]
pub struct Live {
    /// It does.
    live: bool,
}

/// Whether requests should come here.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// Not while models are loading at the start, or when the server is stopping.
    ready: bool,
}

/// `GET /`: KServe's client of the first protocol asks here whether the server is alive.
pub(super) async fn alive() -> Response {
    json(StatusCode::OK, &Alive { status: "alive" })
}

pub(super) async fn healthz() -> Response {
    json(StatusCode::OK, &Live { live: true })
}

pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let ready = shared.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Ready { ready })
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, HttpError> {
    if let Some(log) = shared.service.prediction_log() {
        let counters = log.counters();
        shared.metrics.delivery.logged(&counters.written, &counters.dropped, &counters.failed);
    }
    shared.load.read();
    if let Some(source) = &shared.source {
        source.measure();
    }
    let text = shared.metrics.render().map_err(|e| InferError::Internal(e.to_string()))?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
