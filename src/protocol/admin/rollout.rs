//! Rollouts: start one, see how it stands, steer it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::by::by;
use crate::control::Steer;
use crate::control::rollout::driver::look;
use crate::control::rollout::{Progress, Rollout, Start};
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json, json_body};
use crate::stats::{GateState, Judgement};

/// A rollout and how it stands.
#[derive(Serialize, ToSchema)]
pub struct RolloutState {
    /// The model.
    model: String,
    /// The rollout.
    #[serde(flatten)]
    rollout: Told,
    /// Seconds in this step, by this replica's clock.
    in_step_seconds: f64,
    /// Why it is where it is.
    reason: String,
}

/// A rollout, its gates judged.
#[derive(Serialize, ToSchema)]
struct Told {
    /// Tells it from others.
    id: String,
    /// The baseline.
    from: u64,
    /// The candidate.
    to: u64,
    /// The candidate's shares, in percent.
    steps: Vec<f64>,
    /// Which of them holds, from 0.
    step: usize,
    /// Whether it goes on.
    state: Progress,
    /// How long a step takes at least.
    #[schema(value_type = String)]
    interval: crate::control::rollout::Span,
    /// How long a step may take.
    #[schema(value_type = String)]
    timeout: crate::control::rollout::Span,
    /// Samples a gate wants to have seen.
    min_samples: u64,
    /// What must hold, and whether it does.
    gates: Vec<GateReport>,
}

/// A gate and how it stands.
#[derive(Serialize, ToSchema)]
struct GateReport {
    /// The gate.
    gate: String,
    /// `waiting`, `ok` or `breached`.
    #[schema(value_type = String)]
    state: GateState,
    /// The candidate's figure.
    candidate: Option<f64>,
    /// The baseline's.
    baseline: Option<f64>,
    /// Samples behind it.
    samples: u64,
    /// For people.
    detail: String,
}

/// Who steers, and why.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Steered {
    /// Who asks, for the history.
    author: Option<String>,
    /// Why, for the history.
    reason: Option<String>,
}

pub(super) async fn start(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    caller: Extensions,
    mut body: Body,
) -> Result<Response, HttpError> {
    let example =
        r#"{"to": 7, "steps": [1, 5, 25, 50, 100], "interval": "2m", "gates": ["p99<=1.2x"]}"#;
    let start: Start = json_body(&shared, &mut body, None, example).await?;
    let otherwise = format!("rollout of version {}", start.to);
    let by = by(&caller, start.author.as_deref(), start.reason.as_deref(), &otherwise);
    shared.control.operator.start_rollout(&model, &start, &by).await?;
    tell(&shared, model).await
}

pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
) -> Result<Response, HttpError> {
    tell(&shared, model).await
}

pub(super) async fn steer(
    State(shared): State<Arc<Shared>>,
    Path((model, verb)): Path<(String, String)>,
    caller: Extensions,
    mut body: Body,
) -> Result<Response, HttpError> {
    let steer = match verb.as_str() {
        "pause" => Steer::Pause,
        "resume" => Steer::Resume,
        "abort" => Steer::Abort,
        "promote" => Steer::Promote,
        _ => {
            let message = format!("`{verb}`: a rollout takes pause, resume, abort and promote");
            return Err(InferError::Invalid(message).into());
        }
    };
    let example = r#"{"reason": "…"}"#;
    let said = json_body(&shared, &mut body, Some(Steered::default()), example).await?;
    let otherwise = format!("rollout: {verb}");
    let by = by(&caller, said.author.as_deref(), said.reason.as_deref(), &otherwise);
    shared.control.operator.steer(&model, steer, &by).await?;
    tell(&shared, model).await
}

async fn tell(shared: &Shared, model: String) -> Result<Response, HttpError> {
    let standing = shared.control.operator.publisher().standing(&model)?;
    let newest = standing.history.documents().iter().rev();
    let mut rollouts = newest.filter_map(|d| Some((d, d.rollout.clone()?)));
    let Some((document, rollout)) = rollouts.next() else {
        return Err(InferError::NoRollout(model).into());
    };
    let reason = document.reason.clone();
    let in_step = standing.since.elapsed();
    let figures = &shared.control.figures;
    let gates = look(figures, &model, &standing, &rollout, in_step).await?.gates;
    let reports = rollout.gates.iter().zip(gates).map(|(gate, judged)| {
        let Judgement { state, candidate, baseline, samples, detail, .. } = judged;
        GateReport { gate: gate.to_string(), state, candidate, baseline, samples, detail }
    });
    let gates = reports.collect();
    let Rollout { id, from, to, steps, step, state, interval, timeout, min_samples, .. } = rollout;
    let rollout = Told { id, from, to, steps, step, state, interval, timeout, min_samples, gates };
    let in_step_seconds = in_step.as_secs_f64();
    Ok(json(StatusCode::OK, &RolloutState { model, rollout, in_step_seconds, reason }))
}
