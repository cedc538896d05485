//! The admin API: what is loaded, where traffic goes, and going back.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{HttpError, Shared, json};
use crate::control::{Table, Traffic};
use crate::error::InferError;
use crate::router::{ModelRoutes, ServedVersion};

/// `PUT …/traffic`: either weights by version, or `"latest": true`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetTraffic {
    #[serde(default)]
    weights: BTreeMap<u64, u32>,
    #[serde(default)]
    latest: bool,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = shared.service.router.snapshot();
    let mut models: Vec<_> = snapshot.models.iter().collect();
    models.sort_by_key(|(name, _)| *name);
    let models: Vec<Value> = models.into_iter().map(|(name, m)| describe(name, m)).collect();
    json(StatusCode::OK, &json!({ "revision": snapshot.revision, "models": models }))
}

pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Response, HttpError> {
    let snapshot = shared.service.router.snapshot();
    let routes = snapshot.model(&name)?;
    Ok(json(StatusCode::OK, &describe(&name, routes)))
}

pub(super) async fn traffic(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Response, HttpError> {
    let (tables, latest) = shared.publisher.tables(&name)?;
    let current = tables.last();
    let body = json!({ "model": name, "latest": latest, "current": current, "history": tables });
    Ok(json(StatusCode::OK, &body))
}

pub(super) async fn set_traffic(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    mut body: Body,
) -> Result<Response, HttpError> {
    let body = shared.bodies.read(&mut body).await?;
    let set: SetTraffic = serde_json::from_slice(&body.data.to_bytes()).map_err(|e| {
        let example = r#"{"weights": {"1": 90, "2": 10}} or {"latest": true}"#;
        InferError::Invalid(format!("traffic is {example}: {e}"))
    })?;
    let traffic = match (set.latest, set.weights.is_empty()) {
        (true, true) => Traffic::Latest,
        (false, false) => Traffic::Weighted(set.weights),
        _ => {
            let message = "give either `weights` or `latest`".to_owned();
            return Err(InferError::Invalid(message).into());
        }
    };
    let author = set.author.as_deref().unwrap_or("admin");
    let reason = set.reason.as_deref().unwrap_or("set by the admin API");
    let table = shared.publisher.set_traffic(&name, traffic, author, reason)?;
    Ok(in_force(&name, &table))
}

pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Response, HttpError> {
    let table = shared.publisher.roll_back(&name, "admin")?;
    Ok(in_force(&name, &table))
}

fn in_force(name: &str, table: &Table) -> Response {
    json(StatusCode::OK, &json!({ "model": name, "current": table }))
}

fn describe(name: &str, routes: &ModelRoutes) -> Value {
    let versions: Vec<Value> = routes
        .statuses
        .iter()
        .map(|(version, status)| {
            let mut told = routes.versions.get(version).map_or(json!({}), |v| loaded(v));
            told["version"] = json!(version);
            told["state"] = json!(status.state.name());
            if let Some(error) = &status.error {
                told["error"] = json!(error);
            }
            told
        })
        .collect();
    json!({ "name": name, "problem": routes.problem, "labels": routes.labels, "versions": versions })
}

fn loaded(version: &ServedVersion) -> Value {
    let signature = version.signature();
    let specs = |specs: &[crate::engine::TensorSpec]| -> Vec<String> {
        specs.iter().map(ToString::to_string).collect()
    };
    let limits = version.queue.limits();
    let since = version.info.loaded_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    json!({
        "engine": version.info.engine,
        "digest": format!("sha256:{}", version.info.digest),
        "loaded_at_unix": since.as_secs(),
        "inputs": specs(&signature.inputs),
        "outputs": specs(&signature.outputs),
        "batching": {
            "mode": format!("{:?}", signature.batch_mode),
            "max_batch": limits.max_batch,
            "max_queue_delay_ms": limits.max_queue_delay.as_secs_f64() * 1e3,
            "max_queue_rows": limits.max_queue_rows,
            "instances": limits.instances,
        },
    })
}
