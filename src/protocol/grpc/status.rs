//! Errors as gRPC statuses (PROTOCOL-HTTP2.md of grpc/grpc, "Responses"): the one mapping of
//! [`InferError::code`], and its words.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tonic::{Code, Status};

use crate::error::{Code as OurCode, InferError};

/// gRPC's name for what HTTP calls Retry-After: milliseconds (grpc/proposal A6, "Pushback").
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The content type of every answer.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// The status that tells an error.
pub fn status(error: &InferError) -> Status {
    if error.code() == OurCode::Internal {
        tracing::error!(%error, "request failed");
    }
    let mut status = Status::new(Code::from_i32(error.code().grpc()), error.told());
    if let Some(after) = error.retry_after() {
        status.metadata_mut().insert(PUSHBACK, (after.as_millis() as u64).into());
    }
    status
}

/// What ends an answer: the status as headers.
pub fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    if status.add_header(&mut trailers).is_err() {
        // Only a message that no header can hold comes here, and percent-encoding leaves none.
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    trailers
}

/// An answer that is nothing but an error.
pub fn refusal(error: &InferError) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = trailers(&status(error));
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

/// Whether a request asks to be answered in gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}
