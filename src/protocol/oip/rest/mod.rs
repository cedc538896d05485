//! The protocol's REST door: JSON (inference_rest.md of the Open Inference Protocol) and Triton's
//! binary tensors behind it (docs/protocol/extension_binary_data.md).

mod decode;
mod encode;
mod infer;
mod json;
mod model;
mod path;
mod raw;
mod repository;
mod server;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::routing::{MethodRouter, any, get, post};

use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared};

pub use decode::{Refusal, decode};

/// Bytes of the JSON that leads a body of binary tensors. 0 says that there is no JSON.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The paths below `/v2`.
pub fn routes() -> Router<Arc<Shared>> {
    let of_server = Router::new()
        .route("/v2", get(server::metadata))
        .route("/v2/", get(server::metadata))
        .route("/v2/health/live", get(server::live))
        .route("/v2/health/ready", get(server::ready))
        .route("/v2/models", get(server::models))
        .route("/v2/models/stats", get(model::all_stats))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload));
    let of_model: [(&str, MethodRouter<Arc<Shared>>); 5] = [
        ("", get(model::metadata)),
        ("/ready", get(model::ready)),
        ("/config", get(model::config)),
        ("/stats", get(model::stats)),
        ("/infer", post(infer::infer)),
    ];
    let router = of_model.into_iter().fold(of_server, |router, (path, method)| {
        router
            .route(&format!("/v2/models/{{model}}{path}"), method.clone())
            .route(&format!("/v2/models/{{model}}/versions/{{version}}{path}"), method)
    });
    let left_out =
        LEFT_OUT.into_iter().flat_map(|(paths, why)| paths.iter().map(move |p| (p, why)));
    left_out.fold(router, |router, (path, why)| {
        let refuse = move || async move { HttpError(InferError::Unimplemented(why.to_owned())) };
        router.route(path, any(refuse))
    })
}

/// What Triton has and Ocelli has not, and why.
const LEFT_OUT: [(&[&str], &str); 3] = [
    (&["/v2/systemsharedmemory/{*rest}", "/v2/cudasharedmemory/{*rest}"], super::NO_SHARED_MEMORY),
    (
        &[
            "/v2/logging",
            "/v2/trace/setting",
            "/v2/models/{model}/trace/setting",
            "/v2/models/{model}/versions/{version}/trace/setting",
        ],
        super::NO_LIVE_SETTINGS,
    ),
    (
        &[
            "/v2/models/{model}/generate",
            "/v2/models/{model}/generate_stream",
            "/v2/models/{model}/versions/{version}/generate",
            "/v2/models/{model}/versions/{version}/generate_stream",
        ],
        NO_GENERATION,
    ),
];

/// Why there is none.
const NO_GENERATION: &str =
    "a vision model answers at once and whole: there is nothing to generate; ask …/infer";
