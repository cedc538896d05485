//! The page that shows a document, from Swagger UI's files, which are in the binary.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use crate::error::InferError;
use crate::protocol::http::HttpError;

/// Nothing from elsewhere is loaded, whatever the files say. Swagger UI writes its styles and icons
/// into the page itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'",
);

/// A file that the page needs.
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// Its file's name.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// What is in it, unless Swagger UI has it.
    text: Option<&'static str>,
}

/// The files that the page needs.
pub const ASSETS: [Asset; 3] = [
    Asset {
        path: "/docs/start.js",
        name: "start.js",
        kind: "text/javascript",
        text: Some(include_str!("page/start.js")),
    },
    Asset { path: "/docs/swagger-ui.css", name: "swagger-ui.css", kind: "text/css", text: None },
    Asset {
        path: "/docs/swagger-ui-bundle.js",
        name: "swagger-ui-bundle.js",
        kind: "text/javascript",
        text: None,
    },
];

/// The page and its files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = Bytes::from_static(include_bytes!("page/index.html"));
    let router = Router::new().route("/docs", get(move || async { text("text/html", page) }));
    ASSETS.iter().fold(router, |router, asset| {
        router.route(asset.path, get(move || async { file(asset).map_err(HttpError) }))
    })
}

fn file(asset: &Asset) -> Result<Response, InferError> {
    let bytes = match asset.text {
        Some(text) => Bytes::from_static(text.as_bytes()),
        None => swagger(asset.name)?,
    };
    Ok(text(asset.kind, bytes))
}

fn swagger(name: &str) -> Result<Bytes, InferError> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("")));
    match file {
        Ok(Some(file)) => Ok(match file.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        }),
        _ => Err(InferError::Internal(format!("the page's {name} is missing"))),
    }
}

fn text(kind: &'static str, text: Bytes) -> Response {
    let kind = HeaderValue::from_static(kind);
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, text).into_response()
}
