//! The protocol's gRPC door: package `inference`, service `GRPCInferenceService`.

pub mod decode;
mod encode;
mod model;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::MethodRouter;

use self::decode::{InferMessage, decode};
use super::infer;
use crate::error::InferError;
use crate::protocol::access::Caller;
use crate::protocol::grpc::call::{Context, finish};
use crate::protocol::grpc::{frame, stream, unary};
use crate::protocol::http::Shared;
use crate::protocol::pb::inference as pb;
use crate::telemetry::trace::Stage;

/// The RPCs' routes.
pub fn routes() -> Router<Arc<Shared>> {
    let rpc = |router: Router<Arc<Shared>>, name: &str, method: MethodRouter<Arc<Shared>>| {
        router.route(&format!("/inference.GRPCInferenceService/{name}"), method)
    };
    let methods: [(&str, MethodRouter<Arc<Shared>>); 12] = [
        ("ServerLive", unary(frame::decode, model::live)),
        ("ServerReady", unary(frame::decode, model::ready)),
        ("ModelReady", unary(frame::decode, model::model_ready)),
        ("ServerMetadata", unary(frame::decode, model::server_metadata)),
        ("ModelMetadata", unary(frame::decode, model::model_metadata)),
        ("ModelConfig", unary(frame::decode, model::model_config)),
        ("ModelStatistics", unary(frame::decode, model::model_statistics)),
        ("RepositoryIndex", unary(frame::decode, model::repository_index)),
        ("RepositoryModelLoad", unary(frame::decode, model::load)),
        ("RepositoryModelUnload", unary(frame::decode, model::unload)),
        ("ModelInfer", unary(decode, infer)),
        ("ModelStreamInfer", stream(decode, stream_infer)),
    ];
    let router = methods.into_iter().fold(Router::new(), |r, (name, m)| rpc(r, name, m));
    let left_out =
        LEFT_OUT.into_iter().flat_map(|(names, why)| names.iter().map(move |n| (n, why)));
    left_out.fold(router, |router, (name, why)| {
        let refuse =
            move |_, ()| async move { Err::<(), _>(InferError::Unimplemented(why.to_owned())) };
        rpc(router, name, unary(|_| Ok(()), refuse))
    })
}

/// What Triton has and Ocelli has not, and why.
const LEFT_OUT: [(&[&str], &str); 2] = [
    (
        &[
            "SystemSharedMemoryStatus",
            "SystemSharedMemoryRegister",
            "SystemSharedMemoryUnregister",
            "CudaSharedMemoryStatus",
            "CudaSharedMemoryRegister",
            "CudaSharedMemoryUnregister",
        ],
        super::NO_SHARED_MEMORY,
    ),
    (&["TraceSetting", "LogSettings"], super::NO_LIVE_SETTINGS),
];

async fn infer(
    context: Arc<Context>,
    message: InferMessage,
) -> Result<pb::ModelInferResponse, InferError> {
    let spec = infer::spec(&message.model, &message.version)?;
    let asks = context.asks()?;
    let routed = context.route(&spec, "ModelInfer").await?;
    let (id, typed) = (message.call.id.clone(), message.typed);
    let outputs = infer::run(&context.shared, &routed, message.call, asks).await;
    let began = Instant::now();
    let answer = outputs.map(|outputs| encode::response(&routed.version, id, outputs, typed));
    routed.passed(Stage::Encode, began.elapsed());
    finish(routed, answer)
}

/// One message of a stream: a fault of one is its answer, and the stream goes on
/// (docs/protocol of Triton, ModelStreamInfer).
async fn stream_infer(
    context: Arc<Context>,
    message: Result<InferMessage, InferError>,
) -> pb::ModelStreamInferResponse {
    let id = message.as_ref().map(|m| m.call.id.clone()).unwrap_or_default();
    // The key was asked when the stream began, and its rate counts requests.
    let admitted = context.parts.extensions.get::<Caller>().map_or(Ok(()), Caller::admit);
    let answer = match (admitted, message) {
        (Ok(()), Ok(message)) => infer(context, message).await,
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    let (error_message, mut response) = match answer {
        Ok(response) => (String::new(), response),
        Err(error) => (error.told(), pb::ModelInferResponse { id, ..Default::default() }),
    };
    // Each request has one answer, so each answer is the last.
    let last = pb::infer_parameter::ParameterChoice::BoolParam(true);
    let last = pb::InferParameter { parameter_choice: Some(last) };
    response.parameters.insert("triton_final_response".to_owned(), last);
    pb::ModelStreamInferResponse { error_message, infer_response: Some(response) }
}
