//! Errors as HTTP answers: `{"error": …}`, as TensorFlow Serving words them.

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Code, InferError};

/// An error on its way out of an HTTP door.
pub struct HttpError(pub InferError);

impl<E: Into<InferError>> From<E> for HttpError {
    fn from(error: E) -> Self {
        HttpError(error.into())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.0.code() == Code::Internal {
            tracing::error!(error = %self.0, "request failed");
        }
        let mut response = error_body(status, &self.0.told());
        if self.0.code() == Code::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(after) = self.0.retry_after() {
            // The header counts whole seconds; asking for none would invite a stampede.
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Why a request got no answer.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody<'a> {
    /// For people to read.
    error: &'a str,
}

/// A JSON answer.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => raw_json(status, bytes),
        Err(e) => HttpError(InferError::Internal(e.to_string())).into_response(),
    }
}

/// A JSON answer that is written out already.
pub fn raw_json(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn error_body(status: StatusCode, error: &str) -> Response {
    json(status, &ErrorBody { error })
}

pub(super) async fn no_route(method: Method, uri: Uri) -> Response {
    error_body(StatusCode::NOT_FOUND, &format!("no such route: {method} {}", uri.path()))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    error_body(StatusCode::METHOD_NOT_ALLOWED, &message)
}
