//! Model status and metadata (`get_model_status.proto`, `get_model_metadata.proto` as JSON).

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::decode::SIGNATURE;
use super::grpc::tensor_proto::data_type;
use crate::engine::{Dim, TensorSpec};
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json as json_answer};
use crate::protocol::pb::tensorflow::error::Code;
use crate::router::{ModelSpec, Selector, VersionState, VersionStatus};

/// What every signature here is for.
pub const PREDICT_METHOD: &str = "tensorflow/serving/predict";

pub fn status(shared: &Shared, spec: &ModelSpec) -> Result<Response, HttpError> {
    let statuses: Vec<Value> = statuses(shared, spec)?.iter().map(|(v, s)| one(*v, s)).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "model_version_status": statuses })))
}

/// The versions that are asked about, the newest first.
pub fn statuses(
    shared: &Shared,
    spec: &ModelSpec,
) -> Result<Vec<(u64, VersionStatus)>, InferError> {
    let snapshot = shared.service.router.snapshot();
    let routes = snapshot.model(&spec.model)?;
    let only = match &spec.selector {
        Selector::Traffic => None,
        Selector::Version(version) => Some(*version),
        Selector::Label(label) => Some(routes.label(&spec.model, label)?),
    };
    let chosen = routes.statuses.iter().rev().filter(|(v, _)| only.is_none_or(|o| o == **v));
    let statuses: Vec<_> = chosen.map(|(v, s)| (*v, s.clone())).collect();
    match only {
        Some(version) if statuses.is_empty() => {
            Err(InferError::UnknownVersion { model: spec.model.clone(), version })
        }
        _ => Ok(statuses),
    }
}

/// The code that tells how a version fares.
pub fn health(status: &VersionStatus) -> Code {
    match (&status.error, status.state) {
        (None, _) => Code::Ok,
        // Serving what it had before, while its newer files don't load.
        (Some(_), VersionState::Available) => Code::FailedPrecondition,
        (Some(_), _) => Code::Unknown,
    }
}

fn one(version: u64, status: &VersionStatus) -> Value {
    json!({
        "version": version.to_string(),
        "state": status.state.name(),
        "status": {
            "error_code": health(status).as_str_name(),
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
            "method_name": PREDICT_METHOD,
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
        "dtype": data_type(spec.dtype).as_str_name(),
        "tensor_shape": { "dim": dims, "unknown_rank": false },
        "name": spec.name,
    })
}
