//! Gives every request an id, the caller's or a new one, and every answer that id.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// What feedback names an inference answer by.
pub const PREDICTION_ID: HeaderName = HeaderName::from_static("x-ocelli-request-id");

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, in its extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

pub(super) async fn assign(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER);
    let given = given.filter(|id| (1..=128).contains(&id.len()) && id.to_str().is_ok()).cloned();
    let id = given.clone().unwrap_or_else(new_id);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    // Who names its requests gets its name back; who does not, gets the one that feedback needs.
    let issued = response.headers().get(PREDICTION_ID).filter(|_| given.is_none()).cloned();
    response.headers_mut().insert(HEADER, issued.unwrap_or(id));
    response
}

fn new_id() -> HeaderValue {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = uuid::Uuid::now_v7();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
        .unwrap_or(HeaderValue::from_static("unknown"))
}
