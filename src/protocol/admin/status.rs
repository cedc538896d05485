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
use crate::source::{Failing, StandingView};

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
    /// Where models come from, if they are behind a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceState>,
}

/// Where models come from.
#[derive(Serialize, ToSchema)]
struct SourceState {
    /// Its URL.
    url: String,
    /// Whether the last look at it went well, and all that it has is here.
    ok: bool,
    /// Since the last look that went well; none yet, if this is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_good_seconds: Option<f64>,
    /// Why it can't be read.
    error: Option<String>,
    /// Models that are mirrored.
    models: usize,
    /// What of it can't be had.
    failing: Vec<FailingFile>,
}

/// A file that can't be had.
#[derive(Serialize, ToSchema)]
struct FailingFile {
    /// Its path in the source.
    file: String,
    /// As `ocelli_source_failures_total` counts it.
    reason: &'static str,
    /// What was expected, and what came.
    message: String,
}

impl From<StandingView> for SourceState {
    fn from(view: StandingView) -> SourceState {
        let StandingView { url, last_good, error, failing, models } = view;
        let file = |Failing { file, reason, message }| FailingFile { file, reason, message };
        SourceState {
            url,
            ok: error.is_none() && failing.is_empty() && last_good.is_some(),
            last_good_seconds: last_good.map(|age| age.as_secs_f64()),
            error,
            models,
            failing: failing.into_iter().map(file).collect(),
        }
    }
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
        source: shared.source.as_ref().map(|source| source.view().into()),
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
