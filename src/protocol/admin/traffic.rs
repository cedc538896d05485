//! Where a model's requests go, and going back.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::by::by;
use crate::control::document::Arm;
use crate::control::{By, Document, Edit, Standing};
use crate::protocol::http::{HttpError, Shared, json, json_body};

/// Where a model's requests go, and went.
#[derive(Serialize, ToSchema)]
pub struct TrafficState {
    /// The model.
    model: String,
    /// Whether it follows the latest version.
    latest: bool,
    /// The newest document; none if nobody changed what the files say.
    current: Option<Document>,
    /// What is served by now. It is not what the document says while one of its versions is not loaded.
    split: Vec<Arm>,
    /// The documents, the newest last.
    history: Vec<Document>,
    /// What can be gone back to, the nearest first.
    rollback: Vec<Back>,
}

/// What can be gone back to.
#[derive(Serialize, ToSchema)]
struct Back {
    /// The document; none for what was served before the first.
    revision: Option<u64>,
    /// Whether it would be in force at once.
    instant: bool,
    /// Versions that would be loaded first.
    missing: Vec<u64>,
}

/// What a model's traffic became.
#[derive(Serialize, ToSchema)]
pub struct InForce {
    /// The model.
    model: String,
    /// The newest document.
    current: Document,
    /// What is served by now.
    split: Vec<Arm>,
}

/// What to go back to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollBack {
    /// A certain revision; without it, what was in force before.
    to: Option<u64>,
    /// Who asks, for the history.
    author: Option<String>,
    /// Why, for the history.
    reason: Option<String>,
}

/// What came of a document that was offered.
#[derive(Serialize, ToSchema)]
pub struct Offered {
    /// The model.
    model: String,
    /// The newest revision here.
    revision: u64,
    /// Whether it is the one that was offered.
    adopted: bool,
}

pub(super) async fn traffic(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
) -> Result<Response, HttpError> {
    let standing = shared.control.operator.publisher().standing(&model)?;
    let history = &standing.history;
    let state = TrafficState {
        latest: history.follows_latest(),
        current: history.current().cloned(),
        split: split(&standing),
        history: history.documents().to_vec(),
        rollback: rollbacks(&standing),
        model,
    };
    Ok(json(StatusCode::OK, &state))
}

pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    caller: Extensions,
    mut body: Body,
) -> Result<Response, HttpError> {
    let example = r#"{"weights": {"1": 90, "2": 10}} or {"latest": true}"#;
    let edit: Edit = json_body(&shared, &mut body, None, example).await?;
    let by = by(&caller, edit.author.as_deref(), edit.reason.as_deref(), "set by the admin API");
    let by = By { if_revision: edit.if_revision, ..by };
    let current = shared.control.operator.edit(&model, &edit, &by).await?;
    in_force(&shared, model, current)
}

pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    caller: Extensions,
    mut body: Body,
) -> Result<Response, HttpError> {
    let example = r#"{"to": 3}"#;
    let back = json_body(&shared, &mut body, Some(RollBack::default()), example).await?;
    let by = by(&caller, back.author.as_deref(), back.reason.as_deref(), "rolled back");
    let current = shared.control.operator.roll_back(&model, back.to, &by).await?;
    in_force(&shared, model, current)
}

pub(super) async fn offer(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    mut body: Body,
) -> Result<Response, HttpError> {
    let document: Document = json_body(&shared, &mut body, None, "a traffic document").await?;
    let (revision, adopted) = shared.control.operator.offer(&model, document)?;
    Ok(json(StatusCode::OK, &Offered { model, revision, adopted }))
}

fn in_force(shared: &Shared, model: String, current: Document) -> Result<Response, HttpError> {
    let standing = shared.control.operator.publisher().standing(&model)?;
    Ok(json(StatusCode::OK, &InForce { model, current, split: split(&standing) }))
}

fn split(standing: &Standing) -> Vec<Arm> {
    let weights = standing.weights();
    weights.into_iter().map(|(version, weight)| Arm { version, weight }).collect()
}

fn rollbacks(standing: &Standing) -> Vec<Back> {
    let back = |revision: Option<u64>, versions: BTreeSet<u64>| {
        let missing: Vec<u64> =
            versions.into_iter().filter(|v| !standing.versions.contains_key(v)).collect();
        Back { revision, instant: missing.is_empty(), missing }
    };
    let history = &standing.history;
    let nearest = history.earlier().ok();
    let arms = |arms: &[Arm]| arms.iter().map(|a| a.version).collect();
    let first = nearest.as_ref().map(|e| back(e.revision, arms(&e.traffic.arms)));
    let skip = nearest.as_ref().and_then(|e| e.revision);
    let others = history.documents().iter().rev().skip(1).filter(|d| Some(d.revision) != skip);
    let others = others.map(|d| back(Some(d.revision), arms(&d.traffic.arms)));
    first.into_iter().chain(others).collect()
}
