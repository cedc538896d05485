//! The REST APIs as OpenAPI 3.1 documents, one for each port, and a page to browse them.
//!
//! Schemas are those of the types that are serialised; [`schemas`] has stand-ins for bodies that are
//! read and written by hand. A test holds the paths against the routers of `protocol/http`, and
//! `tests/api/run` the whole against a server.

mod admin;
mod document;
mod inference;
mod oip;
mod operation;
mod ops;
mod page;
mod schemas;
#[cfg(test)]
mod tests;
mod tfs;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use utoipa::openapi::OpenApi;

use self::document::document;
use crate::protocol::http::json;

/// The REST port's document.
pub fn rest() -> OpenApi {
    document("Ocelli", vec![tfs::group(), oip::group(), ops::rest()])
}

/// The admin port's document.
pub fn admin() -> OpenApi {
    document("Ocelli's admin API", vec![admin::group(), ops::admin()])
}

/// A document at `/openapi.json`, and the page at `/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    let document = Arc::new(document);
    let document = move || async move { json(StatusCode::OK, &*document) };
    page::routes().route("/openapi.json", get(document))
}
