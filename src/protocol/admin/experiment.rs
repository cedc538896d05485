//! What the arms show, what feedback says, and bandits.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::by::by;
use crate::control::bandit::Bandit;
use crate::control::experiment::{Asked, Experiment};
use crate::control::feedback::Snapshot;
use crate::control::{Document, Since};
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json, json_body};

/// What feedback says of a model's versions.
#[derive(Serialize, ToSchema)]
pub struct FeedbackState {
    /// The model.
    model: String,
    /// By version.
    #[schema(value_type = BTreeMap<String, Object>)]
    versions: BTreeMap<u64, Snapshot>,
}

/// A bandit to be.
#[derive(Deserialize, ToSchema)]
pub struct SetBandit {
    /// The bandit.
    #[serde(flatten)]
    bandit: Bandit,
}

/// What a model's traffic became.
#[derive(Serialize, ToSchema)]
pub struct BanditState {
    /// The model.
    model: String,
    /// The newest document.
    current: Document,
}

pub(super) async fn experiment(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, HttpError> {
    let Query(asked) = asked.map_err(|e| InferError::Invalid(e.body_text()))?;
    let standing = shared.control.operator.publisher().standing(&model)?;
    let figures = &shared.control.figures;
    let window = figures.window(&model, &standing, Since::Arms).await?;
    let ratio = figures.window(&model, &standing, Since::Weights).await?;
    let weights = standing.weights();
    let sticky = standing.plan.as_ref().is_some_and(|p| p.sticky.is_some());
    let told = Experiment::of(&model, &asked, &window, &ratio, &weights, sticky);
    Ok(json(StatusCode::OK, &told))
}

pub(super) async fn feedback(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
) -> Result<Response, HttpError> {
    let standing = shared.control.operator.publisher().standing(&model)?;
    let ledgers = &shared.control.ledgers;
    let versions = standing.known.iter().filter_map(|v| Some((*v, ledgers.snapshot(&model, *v)?)));
    let versions = versions.collect();
    Ok(json(StatusCode::OK, &FeedbackState { model, versions }))
}

pub(super) async fn set_bandit(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    caller: Extensions,
    mut body: Body,
) -> Result<Response, HttpError> {
    let example = r#"{"min": 500, "max": 9500, "interval": "1m", "metric": "accuracy"}"#;
    let SetBandit { bandit } = json_body(&shared, &mut body, None, example).await?;
    let by = by(&caller, None, None, "a bandit moves the weights");
    let current = shared.control.operator.set_bandit(&model, Some(bandit), &by).await?;
    Ok(json(StatusCode::OK, &BanditState { model, current }))
}

pub(super) async fn end_bandit(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    caller: Extensions,
) -> Result<Response, HttpError> {
    let by = by(&caller, None, None, "the bandit was ended");
    let current = shared.control.operator.set_bandit(&model, None, &by).await?;
    Ok(json(StatusCode::OK, &BanditState { model, current }))
}
