//! TensorFlow Serving's REST API (g3doc/api_rest.md, model_servers/http_rest_api_util.cc), and
//! beside it what people send: a raw image, or a form with images. Its gRPC API is in [`grpc`].

mod answer;
mod decode;
pub mod grpc;
pub mod json;
mod path;
mod status;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::InferError;
use crate::protocol::discard;
use crate::protocol::http::{
    Arrival, HttpError, Shared, deadline_and_priority, json as json_answer,
};
use crate::router::ModelSpec;
use crate::service::{Request as InferRequest, Routed};
use crate::telemetry::trace::Stage;
use path::{Target, Verb};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-ocelli-model-version");

/// `GET /v1/models`: KServe's list. TensorFlow Serving has none.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    method: Method,
) -> Result<Response, HttpError> {
    if method != Method::GET {
        return Err(path::malformed(&method, "/v1/models").into());
    }
    let snapshot = shared.service.router.snapshot();
    let mut models: Vec<_> = snapshot.models.keys().collect();
    models.sort();
    Ok(json_answer(StatusCode::OK, &serde_json::json!({ "models": models })))
}

/// Everything below `/v1/models/`.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, HttpError> {
    let target = path::parse(request.method(), request.uri())?;
    match target {
        Target::Status(spec) => status::status(&shared, &spec),
        Target::Metadata(spec) => status::metadata(&shared, &spec),
        Target::Infer(spec, verb) => {
            let (parts, mut body) = request.into_parts();
            let waits = parts.headers.contains_key(header::EXPECT);
            let answer = answer(&shared, &spec, verb, parts, &mut body).await;
            // A client that waits to be told to send has nothing under way.
            if !answer.status().is_success() && !waits {
                discard(&mut body).await;
            }
            Ok(answer)
        }
    }
}

async fn answer(
    shared: &Shared,
    spec: &ModelSpec,
    verb: Verb,
    parts: Parts,
    body: &mut Body,
) -> Response {
    let call = match verb {
        Verb::Predict => "predict",
        Verb::Classify => "classify",
        Verb::Regress => "regress",
    };
    let arrival = Arrival { call, headers: &parts.headers, at: Instant::now() };
    let routed = match shared.route(spec, &arrival) {
        Ok(routed) => routed,
        Err(error) => return HttpError(error).into_response(),
    };
    let answer = infer(shared, &routed, verb, parts, body).await;
    let mut response = answer.unwrap_or_else(|e| HttpError(e).into_response());
    let version = HeaderValue::from(routed.version.info.version);
    response.headers_mut().insert(VERSION_HEADER, version);
    routed.finish(response.status().as_u16());
    response
}

/// A full queue refuses twice: before the body is read, which costs the server nothing, and when
/// the body is there and others took the room meanwhile. A body that is slow to come holds none.
async fn infer(
    shared: &Shared,
    routed: &Routed,
    verb: Verb,
    parts: Parts,
    body: &mut Body,
) -> Result<Response, InferError> {
    let (service, version) = (&shared.service, &routed.version);
    let (timeout, priority) = deadline_and_priority(&parts.headers)?;
    let options = answer::Options::parse(parts.uri.query())?;
    let deadline = service.deadline(routed, timeout);
    version.queue.check_room()?;
    let late = || routed.late(deadline);
    let body = shared.bodies.read_by(body, deadline, late).await?;
    let place = version.queue.reserve()?;
    let request = Request::from_parts(parts, Body::empty());
    let began = Instant::now();
    let decoded = decode::decode(service, version, verb, request, body.data.to_bytes()).await?;
    routed.passed(Stage::Decode, began.elapsed());
    let call = InferRequest { inputs: decoded.inputs, deadline, priority };
    let computed = service.infer(routed, place, call).await?;
    let (version, bytes) = (version.clone(), computed.bytes());
    let began = Instant::now();
    let encode = move || answer::encode(&version, verb, decoded.form, &options, &computed);
    let encoded = service.work(bytes, encode).await?;
    routed.passed(Stage::Encode, began.elapsed());
    encoded
}
