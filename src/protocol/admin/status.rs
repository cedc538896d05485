//! How the server as a whole fares, and what happened.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::events::Event;
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json};

/// Events that are told unless more are asked for.
const EVENTS: usize = 50;

/// How the server fares.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `ocelli`.
    name: &'static str,
    /// The server's version.
    version: &'static str,
    /// This replica: the host's name and the process.
    replica: String,
    /// Since it was started.
    uptime_seconds: f64,
    /// Whether a balancer should send requests here.
    ready: bool,
    /// Counts the changes of what is served.
    snapshot_revision: u64,
    /// Where traffic is kept.
    store: StoreState,
}

/// Where traffic is kept.
#[derive(Serialize, ToSchema)]
struct StoreState {
    /// `file`, `kubernetes` or `memory`.
    kind: &'static str,
    /// Where it is.
    place: String,
    /// Whether it can be reached, and all in it be read.
    ok: bool,
    /// Why not.
    error: Option<String>,
}

/// What happened.
#[derive(Serialize, ToSchema)]
pub struct Events {
    /// The newest first.
    events: Vec<Event>,
}

/// How many events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let store = shared.control.operator.store();
    let error = store.watch().health.borrow().error().map(str::to_owned);
    let status = Status {
        name: "ocelli",
        version: env!("CARGO_PKG_VERSION"),
        replica: shared.replica.clone(),
        uptime_seconds: shared.started.elapsed().as_secs_f64(),
        ready: shared.is_ready(),
        snapshot_revision: shared.service.router.snapshot().revision,
        store: StoreState { kind: store.kind(), place: store.place(), ok: error.is_none(), error },
    };
    json(StatusCode::OK, &status)
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    limit: Result<Query<Limit>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, HttpError> {
    let Query(Limit { limit }) = limit.map_err(|e| InferError::Invalid(e.body_text()))?;
    let events = shared.control.operator.events().last(limit.unwrap_or(EVENTS));
    Ok(json(StatusCode::OK, &Events { events }))
}
