//! The admin API: what is loaded, where traffic goes, rollouts, experiments; and a page to see them on.
//! It is the only door through which people change traffic.

mod by;
pub mod experiment;
pub mod models;
mod page;
pub mod rollout;
pub mod status;
pub mod traffic;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::http::Shared;

pub use page::{has as is_page, routes as page};

/// The routes.
pub fn routes() -> Router<Arc<Shared>> {
    let of = |what: &str| format!("/admin/v1/models/{{model}}{what}");
    Router::new()
        .route("/admin/v1/status", get(status::status))
        .route("/admin/v1/events", get(status::events))
        .route("/admin/v1/models", get(models::models))
        .route(&of(""), get(models::model))
        .route(&of("/traffic"), get(traffic::traffic).put(traffic::set))
        .route(&of("/traffic/rollback"), post(traffic::roll_back))
        .route(&of("/traffic/offer"), post(traffic::offer))
        .route(&of("/rollout"), get(rollout::state).post(rollout::start))
        .route(&of("/rollout/{verb}"), post(rollout::steer))
        .route(&of("/experiment"), get(experiment::experiment))
        .route(&of("/bandit"), post(experiment::set_bandit).delete(experiment::end_bandit))
        .route(&of("/feedback"), get(experiment::feedback))
}
