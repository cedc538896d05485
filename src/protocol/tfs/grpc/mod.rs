//! TensorFlow Serving's gRPC doors: `PredictionService` and `ModelService` of package
//! `tensorflow.serving` (tensorflow/serving, tensorflow_serving/apis).

mod column;
mod compute;
mod example;
mod infer;
mod metadata;
mod model_service;
mod predict;
mod reload;
mod spec;
pub mod tensor_proto;

use std::sync::Arc;

use axum::Router;

use crate::protocol::grpc::{frame, unary};
use crate::protocol::http::Shared;

pub use example::{Examples, read as read_examples};
pub use predict::{Predict, decode as decode_predict};

/// The RPCs' routes.
pub fn routes() -> Router<Arc<Shared>> {
    let prediction = [
        ("Predict", unary(predict::decode, predict::predict)),
        ("Classify", unary(infer::decode, infer::classify)),
        ("Regress", unary(infer::decode, infer::regress)),
        ("MultiInference", unary(infer::decode_tasks, infer::multi)),
        ("GetModelMetadata", unary(frame::decode, metadata::metadata)),
    ];
    let model = [
        ("GetModelStatus", unary(frame::decode, model_service::status)),
        ("HandleReloadConfigRequest", unary(frame::decode, model_service::reload)),
    ];
    let prediction = prediction.map(|(name, rpc)| (format!("PredictionService/{name}"), rpc));
    let model = model.map(|(name, rpc)| (format!("ModelService/{name}"), rpc));
    prediction
        .into_iter()
        .chain(model)
        .fold(Router::new(), |r, (name, rpc)| r.route(&format!("/tensorflow.serving.{name}"), rpc))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use crate::protocol::pb;

    /// Names, and the files they are in, are what clients import and what they ask reflection for.
    #[test]
    fn the_services_are_described_under_their_public_names() {
        let set = FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap();
        let rpcs = |file: &str, service: &str| {
            let file = set.file.iter().find(|f| f.name() == file).unwrap();
            assert_eq!(file.package(), "tensorflow.serving");
            let service = file.service.iter().find(|s| s.name() == service).unwrap();
            service.method.iter().map(|m| m.name()).collect::<Vec<_>>()
        };
        assert_eq!(
            rpcs("tensorflow_serving/apis/prediction_service.proto", "PredictionService"),
            ["Classify", "Regress", "Predict", "MultiInference", "GetModelMetadata"]
        );
        assert_eq!(
            rpcs("tensorflow_serving/apis/model_service.proto", "ModelService"),
            ["GetModelStatus", "HandleReloadConfigRequest"]
        );
    }
}
