//! `GetModelMetadata`: the signature, packed into an `Any` (apis/get_model_metadata.proto,
//! servables/tensorflow/get_model_metadata_impl.cc).

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use prost_types::Any;

use super::spec;
use super::tensor_proto::data_type;
use crate::engine::{Dim, TensorSpec};
use crate::error::InferError;
use crate::protocol::grpc::call::Context;
use crate::protocol::pb::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, ModelSpec, SignatureDefMap,
};
use crate::protocol::pb::tensorflow::tensor_info::Encoding;
use crate::protocol::pb::tensorflow::{
    SignatureDef, TensorInfo, TensorShapeProto, tensor_shape_proto,
};
use crate::protocol::tfs::decode::SIGNATURE;
use crate::protocol::tfs::status::PREDICT_METHOD;
use crate::router::ServedVersion;

/// The one field there is.
const FIELD: &str = "signature_def";

/// What an `Any` of a `SignatureDefMap` is called.
const MAP_TYPE: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

/// The RPC.
pub async fn metadata(
    context: Arc<Context>,
    request: GetModelMetadataRequest,
) -> Result<GetModelMetadataResponse, InferError> {
    let spec = spec::read(request.model_spec.as_ref())?;
    if request.metadata_field.is_empty() {
        let what = "GetModelMetadataRequest must specify at least one metadata_field";
        return Err(InferError::Invalid(what.to_owned()));
    }
    if let Some(other) = request.metadata_field.iter().find(|f| *f != FIELD) {
        let what = format!("Metadata field {other} is not supported; there is {FIELD}");
        return Err(InferError::Invalid(what));
    }
    let version = context.shared.version(&spec).await?;
    let signatures = HashMap::from([(SIGNATURE.to_owned(), signature(&version))]);
    let map = SignatureDefMap { signature_def: signatures };
    let any = Any { type_url: MAP_TYPE.to_owned(), value: map.encode_to_vec() };
    Ok(GetModelMetadataResponse {
        // It describes all signatures, and so names none.
        model_spec: Some(ModelSpec { signature_name: String::new(), ..spec::answered(&version) }),
        metadata: HashMap::from([(FIELD.to_owned(), any)]),
    })
}

fn signature(version: &ServedVersion) -> SignatureDef {
    let infos = |specs: &[TensorSpec]| specs.iter().map(|s| (s.name.clone(), info(s))).collect();
    SignatureDef {
        inputs: infos(&version.signature().inputs),
        outputs: infos(&version.signature().outputs),
        method_name: PREDICT_METHOD.to_owned(),
    }
}

fn info(spec: &TensorSpec) -> TensorInfo {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(n) => tensor_shape_proto::Dim { size: *n as i64, name: String::new() },
        Dim::Dynamic(name) => tensor_shape_proto::Dim { size: -1, name: name.clone() },
    };
    let dim = spec.shape.iter().map(dim).collect();
    TensorInfo {
        dtype: data_type(spec.dtype).into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        encoding: Some(Encoding::Name(spec.name.clone())),
    }
}
