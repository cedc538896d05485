//! TensorFlow Serving's REST API (g3doc/api_rest.md, model_servers/http_rest_api_util.cc), and
//! beside it what people send: a raw image, or a form with images. Its gRPC API is in [`grpc`].

mod answer;
mod decode;
pub mod grpc;
pub mod json;
mod path;
pub(super) mod status;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use crate::error::InferError;
use crate::protocol::feedback::feedback;
use crate::protocol::http::{
    Asks, HttpError, Shared, asks, json as json_answer, read_body, respond,
};
use crate::service::{Request as InferRequest, Routed};
use crate::telemetry::trace::Stage;
use path::{Target, Verb};

/// `GET /v1/models`: KServe's list. TensorFlow Serving has none.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    method: Method,
) -> Result<Response, HttpError> {
    if method != Method::GET {
        return Err(path::malformed(&method, "/v1/models").into());
    }
    let snapshot = shared.service.router.snapshot();
    Ok(json_answer(StatusCode::OK, &serde_json::json!({ "models": snapshot.names() })))
}

/// Everything below `/v1/models/`.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let target = path::parse(request.method(), request.uri())?;
    match target {
        Target::Status(spec) => status::status(&shared, &spec),
        Target::Metadata(spec) => status::metadata(&shared, &spec).await,
        Target::Feedback(model) => {
            let (_, mut body) = request.into_parts();
            feedback(&shared, &model, &mut body).await
        }
        Target::Infer(spec, verb) => {
            let call = verb.name();
            let answer =
                respond(&shared, &spec, call, request, move |shared, routed, parts, body| {
                    Box::pin(infer(shared, routed, verb, parts, body))
                });
            Ok(answer.await)
        }
    }
}

async fn infer(
    shared: &Shared,
    routed: &Routed,
    verb: Verb,
    parts: Parts,
    body: &mut Body,
) -> Result<Response, InferError> {
    let (service, version) = (&shared.service, &routed.version);
    let Asks { timeout, priority, fresh } = asks(&parts.headers)?;
    let snapshot = service.router.snapshot();
    let sticky = snapshot.sticky_query(&version.info.model);
    let options = answer::Options::parse(parts.uri.query(), sticky)?;
    drop(snapshot);
    let deadline = service.deadline(routed, timeout);
    let body = read_body(shared, routed, deadline, priority, body).await?;
    let place = version.reserve(priority)?;
    let request = Request::from_parts(parts, Body::empty());
    let began = Instant::now();
    let decoded = decode::decode(service, version, verb, request, body.data.to_bytes()).await?;
    routed.passed(Stage::Decode, began.elapsed());
    let call = InferRequest { inputs: decoded.inputs, deadline, fresh };
    let computed = service.infer(routed, place, call).await?;
    let (encoding, bytes) = (version.clone(), computed.bytes());
    let began = Instant::now();
    let encode = move || answer::encode(&encoding, verb, decoded.form, &options, &computed);
    let encoded = service.work(Some(version), bytes, encode).await?;
    routed.passed(Stage::Encode, began.elapsed());
    encoded
}
