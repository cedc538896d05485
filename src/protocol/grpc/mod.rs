//! What all gRPC doors share: messages in frames, calls, statuses, health, reflection.

pub mod call;
pub mod frame;
mod health;
pub mod split;
pub mod status;
pub mod wire;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::routing::{MethodRouter, post};
use prost::Message;

use self::call::Context;
use crate::error::InferError;
use crate::protocol::http::Shared;
use crate::protocol::{feedback, oip, pb, tfs};
use crate::tensor::Data;

/// The gRPC API.
pub fn router(shared: Arc<Shared>) -> Router {
    let router = oip::grpc::routes().merge(tfs::grpc::routes()).merge(feedback::routes());
    let router = router.merge(health::routes(&shared));
    let router = match reflection() {
        Ok(routes) => router.merge(routes),
        Err(error) => {
            // Only a build with broken descriptors comes here, and a test sees that none is.
            tracing::error!(%error, "no reflection");
            router
        }
    };
    router.fallback(unknown).with_state(shared)
}

/// A route to an RPC with one message each way.
pub fn unary<M, R, F>(
    decode: fn(Data) -> Result<M, InferError>,
    handle: impl Fn(Arc<Context>, M) -> F + Clone + Send + Sync + 'static,
) -> MethodRouter<Arc<Shared>>
where
    M: Send + 'static,
    R: Message + 'static,
    F: Future<Output = Result<R, InferError>> + Send + 'static,
{
    post(move |State(shared): State<Arc<Shared>>, request: Request<Body>| {
        call::unary(shared, request, decode, handle)
    })
}

/// A route to an RPC with a stream of messages each way, an answer for each.
pub fn stream<M, R, F>(
    decode: fn(Data) -> Result<M, InferError>,
    handle: impl Fn(Arc<Context>, Result<M, InferError>) -> F + Clone + Send + Sync + 'static,
) -> MethodRouter<Arc<Shared>>
where
    M: Send + 'static,
    R: Message + 'static,
    F: Future<Output = R> + Send + 'static,
{
    post(move |State(shared): State<Arc<Shared>>, request: Request<Body>| {
        call::streaming(shared, request, decode, handle)
    })
}

async fn unknown(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    status::refusal(&InferError::Unimplemented(format!("there is no RPC `{path}` here")))
}

/// grpc.reflection, in the version that clients ask and in the one they should.
fn reflection() -> Result<Router<Arc<Shared>>, tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Router::new()
        .route_service("/grpc.reflection.v1.ServerReflection/{*rpc}", builder().build_v1()?)
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{*rpc}",
            builder().build_v1alpha()?,
        ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_descriptors_of_the_build_can_be_reflected() {
        drop(super::reflection().unwrap());
    }
}
