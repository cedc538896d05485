//! grpc.health.v1 (health.proto of grpc/grpc): the whole under the empty name, a model under its
//! own, one of its versions under `NAME/VERSION`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::protocol::http::Shared;
use crate::protocol::oip::infer::spec;

/// How often a watched status is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Services that are whole when the server is.
const SERVICES: [&str; 4] = [
    "",
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
];

pub fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let service = HealthServer::new(Checker(shared.clone()));
    Router::new().route_service("/grpc.health.v1.Health/{*rpc}", service)
}

#[derive(Clone)]
struct Checker(Arc<Shared>);

impl Checker {
    /// `None` for a name that is nobody's.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let serving = if SERVICES.contains(&service) {
            self.0.is_ready()
        } else {
            let (model, version) = service.split_once('/').unwrap_or((service, ""));
            let ready = self.0.is_model_ready(&spec(model, version).ok()?).ok()?;
            ready && !self.0.stopping.load(Ordering::Relaxed)
        };
        Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

#[tonic::async_trait]
impl Health for Checker {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = self.status(&service);
        let status =
            status.ok_or_else(|| Status::not_found(format!("no service or model `{service}`")))?;
        Ok(Response::new(answer(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Ends when the server drains, so that no watcher holds it up.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let state = (self.clone(), request.into_inner().service, None);
        let statuses = stream::unfold(state, |(checker, service, told)| async move {
            let mut drain = checker.0.drain.clone();
            loop {
                let status = checker.status(&service).unwrap_or(ServingStatus::ServiceUnknown);
                if told != Some(status) {
                    return Some((Ok(answer(status)), (checker, service, Some(status))));
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    _ = drain.wait_for(|drain| *drain) => return None,
                }
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
