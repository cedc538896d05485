//! What became of an answer: `POST /v1/models/NAME:feedback`, in TensorFlow Serving's style, which has no such
//! thing, and `ocelli.v1.Feedback/Record` by gRPC.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::feedback::Feedback;
use crate::error::InferError;
use crate::prediction_id::PredictionId;
use crate::protocol::grpc::call::Context;
use crate::protocol::grpc::{frame, unary};
use crate::protocol::http::{HttpError, Shared, json, json_body};
use crate::protocol::pb::ocelli as pb;
use crate::protocol::pb::ocelli::feedback_request::Truth;
use crate::vision::Answerer;

/// What became of one row of an answer. At least one of label, correct, reward and value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRequest {
    /// `x-ocelli-request-id` of the answer.
    pub request_id: String,
    /// Which row of the request; the first unless said.
    #[serde(default)]
    pub row: u32,
    /// The true class: its index, or its name.
    #[serde(default)]
    pub label: Option<Label>,
    /// Whether the answer was right.
    #[serde(default)]
    pub correct: Option<bool>,
    /// What it was worth.
    #[serde(default)]
    pub reward: Option<f64>,
    /// Any other number to follow.
    #[serde(default)]
    pub value: Option<f64>,
}

/// A class.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Label {
    /// By its index.
    Index(u32),
    /// By its name.
    Name(String),
}

/// Whether it counts.
#[derive(Serialize, ToSchema)]
pub struct FeedbackAnswer {
    /// False if this row of this answer was told of before.
    pub accepted: bool,
}

/// Takes feedback by REST.
pub async fn feedback(
    shared: &Shared,
    model: &str,
    body: &mut Body,
) -> Result<Response, HttpError> {
    let example = r#"{"request_id": "…", "label": 3}"#;
    let request = json_body(shared, body, None, example).await?;
    let accepted = record(shared, model, request)?;
    Ok(json(StatusCode::OK, &FeedbackAnswer { accepted }))
}

/// The RPC's route.
pub fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/ocelli.v1.Feedback/Record", unary(frame::decode, by_grpc))
}

async fn by_grpc(
    context: Arc<Context>,
    request: pb::FeedbackRequest,
) -> Result<pb::FeedbackResponse, InferError> {
    let pb::FeedbackRequest { model, request_id, row, truth, correct, reward, value } = request;
    let label = truth.map(|truth| match truth {
        Truth::Class(index) => Label::Index(index),
        Truth::Label(name) => Label::Name(name),
    });
    let request = FeedbackRequest { request_id, row, label, correct, reward, value };
    let accepted = record(&context.shared, &model, request)?;
    Ok(pb::FeedbackResponse { accepted })
}

/// Takes feedback, by whatever door.
fn record(shared: &Shared, model: &str, request: FeedbackRequest) -> Result<bool, InferError> {
    let invalid = |what: String| InferError::Invalid(format!("feedback for {model}: {what}"));
    let id: PredictionId =
        request.request_id.parse().map_err(|e| invalid(format!("request_id: {e}")))?;
    if id.model() != model {
        return Err(invalid(format!("the answer was given by model {}", id.model())));
    }
    let label =
        match request.label {
            None => None,
            Some(Label::Index(index)) => Some(index),
            Some(Label::Name(name)) => Some(class(shared, &id, &name).ok_or_else(|| {
                invalid(format!("version {} knows no label `{name}`", id.version()))
            })?),
        };
    let FeedbackRequest { row, correct, reward, value, .. } = request;
    let feedback = Feedback { row, label, correct, reward, value };
    shared.control.ledgers.record(&id, &feedback).map_err(|e| invalid(e.to_string()))
}

/// The index of a named class, by a version that is loaded: the one that answered, or else any.
fn class(shared: &Shared, id: &PredictionId, name: &str) -> Option<u32> {
    let snapshot = shared.service.router.snapshot();
    let versions = &snapshot.models.get(id.model())?.versions;
    let version = versions.get(&id.version()).or_else(|| versions.values().next_back())?;
    match &version.answerer {
        Some(Answerer::Classifier(classifier)) => classifier.index(name).map(|i| i as u32),
        _ => None,
    }
}
