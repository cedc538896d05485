//! What all HTTP doors share: the routes, errors, request ids, health.

mod asked;
mod autoscale;
mod error;
mod frames;
mod inference;
mod json_body;
mod ops;
mod path;
mod request;
mod request_id;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Extensions;
use axum::middleware;
use axum::routing::{any, get};
use tokio::sync::watch;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use crate::batcher::Meter;
use crate::control::Control;
use crate::control::events::{Event, Kind};
use crate::error::InferError;
use crate::protocol::Bodies;
use crate::protocol::access::{AccessLayer, Caller, Right, Rules};
use crate::protocol::grpc::status::is_grpc;
use crate::protocol::openapi;
use crate::repository::Commands;
use crate::router::{ModelSpec, ServedVersion};
use crate::service::{InferenceService, Routed};
use crate::source::Standing;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracing;

pub use asked::Arrival;
pub use autoscale::Autoscale;
pub use error::{ErrorBody, HttpError, json, raw_json};
pub use frames::frames;
pub use inference::{read_body, respond, tell};
pub use json_body::{json_body, small_body};
pub use ops::{Alive, Live, Ready};
pub use path::name;
pub use request::{Asks, asks};
pub use request_id::{PREDICTION_ID, RequestId};

/// Bytes of an answer that fit one packet gain nothing by compression, and some clients read errors
/// as they come.
const WORTH_COMPRESSING: u16 = 1400;

/// What handlers need.
pub struct Shared {
    /// The use-case.
    pub service: InferenceService,
    /// The door to traffic, for the admin API and feedback alone.
    pub control: Control,
    /// What tells where the time of requests goes, if a collector is set.
    pub tracing: Option<Tracing>,
    /// What is scraped.
    pub metrics: Arc<Metrics>,
    /// What reads how much is asked of the compute threads.
    pub load: Meter,
    /// This replica: the host's name and the process.
    pub replica: String,
    /// When the server was started.
    pub started: std::time::Instant,
    /// Whether what was there at the start has been loaded.
    pub loaded: watch::Receiver<bool>,
    /// What asks the repository to load and unload.
    pub repository: Commands,
    /// How the mirror of a source fares, if models are behind a URL.
    pub source: Option<Arc<Standing>>,
    /// Whether the public ports may ask that (`--allow-control`).
    pub allow_control: bool,
    /// Whether the server is on its way out.
    pub stopping: Arc<AtomicBool>,
    /// Turns true when open connections are to end: what streams without end, ends then.
    pub drain: watch::Receiver<bool>,
    /// What reads the bodies of inference requests.
    pub bodies: Bodies,
    /// Who may come in.
    pub rules: Arc<Rules>,
}

impl Shared {
    /// Picks the version that answers; a request that reaches none is counted. One whose model is loaded on
    /// demand waits for that, at most for its own time.
    pub async fn route(
        &self,
        spec: &ModelSpec,
        arrival: &Arrival<'_>,
        timeout: impl FnOnce() -> Option<Duration>,
    ) -> Result<Routed, InferError> {
        let mut routed = self.service.route(spec, arrival);
        if let Err(InferError::NotLoaded(model)) = routed {
            let asked = Instant::now();
            let timeout = timeout().unwrap_or_else(|| self.service.default_timeout());
            let find = || self.service.route(spec, arrival);
            routed = self.bring(model, asked + timeout, find).await;
            // It waited in its own time.
            routed = routed.map(|routed| routed.asked_at(asked));
        }
        let mut routed = routed.inspect_err(|error| {
            let code = error.code().http().to_string();
            self.metrics.unrouted.with_label_values(&[&code]).inc();
        })?;
        if let Some(tracing) = &self.tracing {
            routed.trace = tracing.request(arrival.call, arrival.headers, arrival.at);
        }
        Ok(routed)
    }

    /// A version that could answer, for questions about the model. One that is loaded on demand is loaded:
    /// clients ask for a model's signature before they send anything.
    pub async fn version(&self, spec: &ModelSpec) -> Result<Arc<ServedVersion>, InferError> {
        let find = || self.service.router.version(spec);
        match find() {
            Err(InferError::NotLoaded(model)) => {
                self.bring(model, Instant::now() + self.service.default_timeout(), find).await
            }
            told => told,
        }
    }

    /// What `find` finds, once a model is loaded on demand.
    async fn bring<T>(
        &self,
        model: String,
        deadline: Instant,
        find: impl Fn() -> Result<T, InferError>,
    ) -> Result<T, InferError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let brought = self.wait(Some(left), self.repository.bring(&model)).await;
            return match (find(), brought) {
                // It had to make room again before its turn came.
                (Err(InferError::NotLoaded(_)), Ok(())) => continue,
                (Err(InferError::NotLoaded(model)), Err(why)) => Err(match why {
                    // It is there and broken: no fault of who asks.
                    InferError::Conflict(reason) => InferError::NotAvailable { model, reason },
                    InferError::Late(_) => {
                        InferError::Late(format!("model {model} is still being loaded"))
                    }
                    other => other,
                }),
                // What serves is enough, though another version of it may be broken.
                (found, _) => found,
            };
        }
    }

    /// What asks the repository to load and unload, where that is allowed on the public ports, and
    /// to whom: where there are keys, to those with the right of the admin API.
    /// What is asked is told as an event.
    pub fn commands(
        &self,
        caller: &Extensions,
        asked: &str,
        model: &str,
    ) -> Result<&Commands, InferError> {
        if !self.allow_control {
            return Err(InferError::PermissionDenied(
                "loading and unloading is not allowed on this port: start the server with \
                 --allow-control true"
                    .to_owned(),
            ));
        }
        let caller = caller.get::<Caller>();
        if let Some(caller) = caller {
            caller.demand(Right::Admin)?;
        }
        let author = caller.map_or("anyone", |caller| caller.name());
        let event = Event::other(model, Kind::Repository, author, format!("{asked} was asked"));
        self.control.operator.events().tell(event);
        Ok(&self.repository)
    }

    /// Waits for `work` as long as its caller and the server's end allow.
    pub async fn wait<T>(
        &self,
        timeout: Option<Duration>,
        work: impl Future<Output = Result<T, InferError>>,
    ) -> Result<T, InferError> {
        let mut drain = self.drain.clone();
        let patience = tokio::time::sleep(timeout.unwrap_or(Duration::MAX));
        tokio::select! {
            done = work => done,
            _ = drain.wait_for(|drain| *drain) => Err(InferError::ShuttingDown),
            () = patience => Err(InferError::Late("it is not done yet, and goes on".to_owned())),
        }
    }

    /// Whether a model could answer now; one that is not known is an error.
    pub fn is_model_ready(&self, spec: &ModelSpec) -> Result<bool, InferError> {
        match self.service.router.version(spec) {
            Ok(_) => Ok(true),
            Err(InferError::NotAvailable { .. } | InferError::NotLoaded(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a balancer should send requests here.
    pub fn is_ready(&self) -> bool {
        *self.loaded.borrow() && !self.stopping.load(Ordering::Relaxed)
    }
}

/// The REST API.
pub fn rest(shared: Arc<Shared>) -> Router {
    common(rest_routes(), shared, Right::Predict)
}

/// The REST API's routes.
pub(super) fn rest_routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(ops::alive))
        .route("/v1/models", any(super::tfs::list))
        .route("/v1/models/", any(super::tfs::list))
        .route("/v1/models/{*rest}", any(super::tfs::model))
        .merge(super::oip::rest::routes())
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .route("/autoscale", get(autoscale::autoscale))
        .merge(openapi::routes(openapi::rest()))
}

/// Two APIs behind one port, told apart by the content type.
pub fn single_port(rest: Router, grpc: Router) -> Router {
    Router::new().fallback_service(tower::service_fn(move |request: Request| {
        let router = if is_grpc(request.headers()) { &grpc } else { &rest };
        router.clone().oneshot(request)
    }))
}

/// The admin API.
pub fn admin(shared: Arc<Shared>) -> Router {
    common(admin_routes().merge(super::admin::page()), shared, Right::Admin)
}

/// The admin API's routes.
pub(super) fn admin_routes() -> Router<Arc<Shared>> {
    super::admin::routes()
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .route("/autoscale", get(autoscale::autoscale))
        .merge(openapi::routes(openapi::admin()))
}

fn common(router: Router<Arc<Shared>>, shared: Arc<Shared>, right: Right) -> Router {
    router
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::wrong_method)
        // The one limit is that of `Bodies`, which also counts what decompression makes of a body.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(WORTH_COMPRESSING)))
        .layer(AccessLayer::new(shared.rules.clone(), right))
        .layer(middleware::from_fn(request_id::assign))
        .with_state(shared)
}
