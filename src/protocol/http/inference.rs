//! The way of an inference request that all REST APIs share: refused early, counted once, told who
//! answered, and rid of what it still sends.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::{Arrival, HttpError, PREDICTION_ID, Shared, asks};
use crate::batcher::Priority;
use crate::error::InferError;
use crate::protocol::body::{Read, discard};
use crate::router::ModelSpec;
use crate::service::{Routed, Ticket};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-ocelli-model-version");
const ENGINE_HEADER: HeaderName = HeaderName::from_static("x-ocelli-engine");
const PRECISION_HEADER: HeaderName = HeaderName::from_static("x-ocelli-precision");
/// Whether the answer was kept, for models with a cache: `hit` or `miss`.
const CACHE_HEADER: HeaderName = HeaderName::from_static("x-ocelli-cache");

/// Tells who answered, and how, in the headers of an answer; of gRPC they are its metadata.
pub fn tell(ticket: &Ticket, headers: &mut HeaderMap) {
    let info = ticket.version();
    headers.insert(VERSION_HEADER, HeaderValue::from(info.version));
    headers.insert(ENGINE_HEADER, HeaderValue::from_static(info.engine));
    headers.insert(PRECISION_HEADER, HeaderValue::from_static(info.precision.name()));
    if let Ok(id) = HeaderValue::try_from(ticket.id()) {
        headers.insert(PREDICTION_ID, id);
    }
    if let Some(recalled) = ticket.recalled() {
        let how = HeaderValue::from_static(if recalled { "hit" } else { "miss" });
        headers.insert(CACHE_HEADER, how);
    }
}

/// Answers `request`, a `call` such as `predict`, by `infer` on the version that `spec` is routed
/// to. (The future is boxed since a closure can't promise that its own may move between threads.)
pub async fn respond<F>(
    shared: &Shared,
    spec: &ModelSpec,
    call: &'static str,
    request: Request,
    infer: F,
) -> Response
where
    F: for<'a> FnOnce(
        &'a Shared,
        &'a Routed,
        Parts,
        &'a mut Body,
    ) -> BoxFuture<'a, Result<Response, InferError>>,
{
    let (parts, mut body) = request.into_parts();
    let waits = parts.headers.contains_key(header::EXPECT);
    let arrival = Arrival::new(call, &parts, Instant::now());
    let timeout = || asks(&parts.headers).ok().and_then(|asks| asks.timeout);
    let answer = match shared.route(spec, &arrival, timeout).await {
        Ok(routed) => {
            let answer = infer(shared, &routed, parts, &mut body).await;
            finish(routed, answer)
        }
        Err(error) => HttpError(error).into_response(),
    };
    // A client that waits to be told to send has nothing under way.
    if !answer.status().is_success() && !waits {
        discard(&mut body).await;
    }
    answer
}

/// Reads the body. A full queue refuses twice: here before anything is read, which costs the
/// server nothing, and when the caller asks for a place, since others may have taken the room
/// meanwhile. A body that is slow to come holds none.
pub async fn read_body(
    shared: &Shared,
    routed: &Routed,
    deadline: Instant,
    priority: Priority,
    body: &mut Body,
) -> Result<Read, InferError> {
    routed.version.check_room(priority)?;
    shared.bodies.read_by(body, deadline, || routed.late(deadline)).await
}

fn finish(routed: Routed, answer: Result<Response, InferError>) -> Response {
    let mut response = answer.unwrap_or_else(|e| HttpError(e).into_response());
    tell(&routed.ticket, response.headers_mut());
    routed.finish(response.status().as_u16());
    response
}
