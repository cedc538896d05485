//! Model status and metadata (`get_model_status.proto`, `get_model_metadata.proto` as JSON).

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::decode::SIGNATURE;
use crate::engine::{Dim, TensorSpec};
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json as json_answer};
use crate::router::{ModelSpec, Selector, VersionState, VersionStatus};
use crate::tensor::DType;

pub fn status(shared: &Shared, spec: &ModelSpec) -> Result<Response, HttpError> {
    let snapshot = shared.service.router.snapshot();
    let routes = snapshot.model(&spec.model)?;
    let only = match &spec.selector {
        Selector::Traffic => None,
        Selector::Version(version) => Some(*version),
        Selector::Label(label) => Some(routes.label(&spec.model, label)?),
    };
    let chosen = routes.statuses.iter().rev().filter(|(v, _)| only.is_none_or(|o| o == **v));
    let statuses: Vec<Value> = chosen.map(|(v, s)| one(*v, s)).collect();
    if let (Some(version), true) = (only, statuses.is_empty()) {
        return Err(InferError::UnknownVersion { model: spec.model.clone(), version }.into());
    }
    Ok(json_answer(StatusCode::OK, &json!({ "model_version_status": statuses })))
}

fn one(version: u64, status: &VersionStatus) -> Value {
    let code = match (&status.error, status.state) {
        (None, _) => "OK",
        // Serving what it had before, while its newer files don't load.
        (Some(_), VersionState::Available) => "FAILED_PRECONDITION",
        (Some(_), _) => "UNKNOWN",
    };
    json!({
        "version": version.to_string(),
        "state": status.state.name(),
        "status": {
            "error_code": code,
            "error_message": status.error.as_deref().unwrap_or_default(),
        },
    })
}

pub fn metadata(shared: &Shared, spec: &ModelSpec) -> Result<Response, HttpError> {
    let version = shared.service.router.route(spec, 0)?;
    let signature = version.signature();
    let body = json!({
        "model_spec": {
            "name": spec.model,
            "signature_name": "",
            "version": version.info.version.to_string(),
        },
        "metadata": { "signature_def": { "signature_def": { SIGNATURE: {
            "inputs": tensor_infos(&signature.inputs),
            "outputs": tensor_infos(&signature.outputs),
            "method_name": "tensorflow/serving/predict",
        }}}},
    });
    Ok(json_answer(StatusCode::OK, &body))
}

fn tensor_infos(specs: &[TensorSpec]) -> Map<String, Value> {
    specs.iter().map(|spec| (spec.name.clone(), tensor_info(spec))).collect()
}

fn tensor_info(spec: &TensorSpec) -> Value {
    let dim = |d: &Dim| match d {
        Dim::Fixed(n) => json!({ "size": n.to_string(), "name": "" }),
        Dim::Dynamic(name) => json!({ "size": "-1", "name": name }),
    };
    let dims: Vec<Value> = spec.shape.iter().map(dim).collect();
    json!({
        "dtype": tensorflow_name(spec.dtype),
        "tensor_shape": { "dim": dims, "unknown_rank": false },
        "name": spec.name,
    })
}

/// `tensorflow/core/framework/types.proto`.
fn tensorflow_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "DT_BOOL",
        DType::U8 => "DT_UINT8",
        DType::U16 => "DT_UINT16",
        DType::U32 => "DT_UINT32",
        DType::U64 => "DT_UINT64",
        DType::I8 => "DT_INT8",
        DType::I16 => "DT_INT16",
        DType::I32 => "DT_INT32",
        DType::I64 => "DT_INT64",
        DType::F16 => "DT_HALF",
        DType::BF16 => "DT_BFLOAT16",
        DType::F32 => "DT_FLOAT",
        DType::F64 => "DT_DOUBLE",
        DType::Bytes => "DT_STRING",
    }
}
