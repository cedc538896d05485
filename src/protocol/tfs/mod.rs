//! TensorFlow Serving's REST API (g3doc/api_rest.md, model_servers/http_rest_api_util.cc), and
//! beside it what people send: a raw image, or a form with images.

mod answer;
mod decode;
pub mod json;
mod path;
mod status;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::error::InferError;
use crate::protocol::http::{
    HttpError, Shared, deadline_and_priority, json as json_answer, read_body,
};
use crate::service::{Request as InferRequest, Routed};
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
            let (parts, body) = request.into_parts();
            let body = read_body(body, shared.max_body).await?;
            let routed = match shared.service.route(&spec) {
                Ok(routed) => routed,
                Err(error) => {
                    let code = error.code().http().to_string();
                    shared.metrics.unrouted.with_label_values(&[&code]).inc();
                    return Err(error.into());
                }
            };
            let answer = infer(&shared, &routed, verb, parts, body).await;
            let mut response = answer.unwrap_or_else(|e| HttpError(e).into_response());
            let version = HeaderValue::from(routed.version.info.version);
            response.headers_mut().insert(VERSION_HEADER, version);
            routed.finish(response.status().as_u16());
            Ok(response)
        }
    }
}

async fn infer(
    shared: &Shared,
    routed: &Routed,
    verb: Verb,
    parts: axum::http::request::Parts,
    body: bytes::Bytes,
) -> Result<Response, InferError> {
    let (timeout, priority) = deadline_and_priority(&parts.headers)?;
    let options = answer::Options::parse(parts.uri.query())?;
    let request = Request::from_parts(parts, Body::empty());
    let decoded = decode::decode(&routed.version, verb, request, body).await?;
    let call = InferRequest { inputs: decoded.inputs, timeout, priority };
    let response = shared.service.infer(routed, call).await?;
    answer::encode(&routed.version, verb, decoded.form, &options, &response)
}
