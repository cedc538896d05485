//! What is loaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::TensorSpec;
use crate::protocol::http::{HttpError, Shared, json};
use crate::router::{ModelRoutes, ServedVersion, VersionStatus};

/// What is loaded.
#[derive(Serialize, ToSchema)]
pub struct Models {
    /// Counts the changes of what is served.
    revision: u64,
    /// By name.
    models: Vec<ModelState>,
}

/// What is loaded of a model.
#[derive(Serialize, ToSchema)]
pub struct ModelState {
    /// Its name.
    name: String,
    /// Why the model as a whole can't be served.
    problem: Option<String>,
    /// Names for versions.
    labels: BTreeMap<String, u64>,
    /// Every version known.
    versions: Vec<VersionState>,
}

/// What a version is doing, and what it is, once it is loaded.
#[derive(Serialize, ToSchema)]
struct VersionState {
    /// Its number.
    version: u64,
    /// `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
    state: &'static str,
    /// Why it is not available, or why its newest files are not what is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
    /// What that computes in: `f32` or `bf16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<&'static str>,
    /// Why this engine and precision: what was compared, or what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_choice: Option<String>,
    /// Of its file: `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// When it was loaded: seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_at_unix: Option<u64>,
    /// What goes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Vec<String>>,
    /// What comes out.
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Vec<String>>,
    /// How its requests are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    batching: Option<Batching>,
}

/// How requests are joined.
#[derive(Serialize, ToSchema)]
struct Batching {
    /// What its tensors' first dimension is.
    mode: String,
    /// Rows of a batch at most.
    max_batch: usize,
    /// How long an idle engine waits for a fuller batch.
    max_queue_delay_ms: f64,
    /// Rows that may wait.
    max_queue_rows: usize,
    /// Batches that may run at once.
    instances: usize,
}

pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.service.router.snapshot();
    let mut models: Vec<_> = snapshot.models.iter().collect();
    models.sort_by_key(|(name, _)| *name);
    let models = models.into_iter().map(|(name, m)| describe(name, m)).collect();
    json(StatusCode::OK, &Models { revision: snapshot.revision, models })
}

pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Response, HttpError> {
    let snapshot = shared.service.router.snapshot();
    let routes = snapshot.model(&name)?;
    Ok(json(StatusCode::OK, &describe(&name, routes)))
}

fn describe(name: &str, routes: &ModelRoutes) -> ModelState {
    let specs = |specs: &[TensorSpec]| specs.iter().map(ToString::to_string).collect();
    let version = |(version, status): (&u64, &VersionStatus)| {
        let loaded = routes.versions.get(version);
        VersionState {
            version: *version,
            state: status.state.name(),
            error: status.error.clone(),
            engine: loaded.map(|v| v.info.engine),
            precision: loaded.map(|v| v.info.precision.name()),
            engine_choice: loaded.map(|v| v.info.why.clone()),
            digest: loaded.map(|v| format!("sha256:{}", v.info.digest)),
            loaded_at_unix: loaded.map(|v| loaded_at_unix(v)),
            inputs: loaded.map(|v| specs(&v.signature().inputs)),
            outputs: loaded.map(|v| specs(&v.signature().outputs)),
            batching: loaded.map(|v| batching(v)),
        }
    };
    ModelState {
        name: name.to_owned(),
        problem: routes.problem.clone(),
        labels: routes.labels.clone(),
        versions: routes.statuses.iter().map(version).collect(),
    }
}

fn loaded_at_unix(version: &ServedVersion) -> u64 {
    version.info.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn batching(version: &ServedVersion) -> Batching {
    let limits = version.queue.limits();
    Batching {
        mode: format!("{:?}", version.signature().batch_mode),
        max_batch: limits.max_batch,
        max_queue_delay_ms: limits.max_queue_delay.as_secs_f64() * 1e3,
        max_queue_rows: limits.max_queue_rows,
        instances: limits.instances,
    }
}
