//! Model status and metadata (`get_model_status.proto`, `get_model_metadata.proto` as JSON).

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::decode::SIGNATURE;
use super::grpc::tensor_proto::data_type;
use crate::engine::{Dim, TensorSpec};
use crate::error::InferError;
use crate::protocol::http::{HttpError, Shared, json as json_answer};
use crate::protocol::pb::tensorflow::error::Code;
use crate::router::{ModelSpec, Selector, VersionState, VersionStatus};

/// What every signature here is for.
pub const PREDICT_METHOD: &str = "tensorflow/serving/predict";

/// How a model's versions fare (`get_model_status.proto`).
#[derive(Serialize, ToSchema)]
pub struct ModelStatus {
    /// The newest first.
    model_version_status: Vec<OneStatus>,
}

/// How a version fares.
#[derive(Serialize, ToSchema)]
struct OneStatus {
    /// `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
    state: &'static str,
    /// Whether something is wrong with it.
    status: Health,
    /// Its number.
    version: String,
}

/// What is wrong with a version.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `OK`, or another of gRPC's codes.
    error_code: &'static str,
    /// What, if something is.
    error_message: String,
}

/// A model's inputs and outputs (`get_model_metadata.proto`).
#[derive(Serialize, ToSchema)]
pub struct ServingMetadata {
    /// The version that is told of.
    model_spec: ServedSpec,
    /// What is told.
    metadata: SignatureField,
}

/// A version of a model.
#[derive(Serialize, ToSchema)]
struct ServedSpec {
    /// The model.
    name: String,
    /// Empty.
    signature_name: &'static str,
    /// The version's number.
    version: String,
}

/// The one field of metadata that there is.
#[derive(Serialize, ToSchema)]
struct SignatureField {
    /// Its signatures.
    signature_def: SignatureMap,
}

/// The signatures of a model.
#[derive(Serialize, ToSchema)]
struct SignatureMap {
    /// By name: `serving_default`.
    signature_def: BTreeMap<&'static str, SignatureDef>,
}

/// A way to call a model.
#[derive(Serialize, ToSchema)]
struct SignatureDef {
    /// What goes in, by name.
    inputs: BTreeMap<String, TensorInfo>,
    /// What comes out, by name.
    outputs: BTreeMap<String, TensorInfo>,
    /// What it is for.
    method_name: &'static str,
}

/// An input or output.
#[derive(Serialize, ToSchema)]
struct TensorInfo {
    /// Such as `DT_FLOAT`.
    dtype: &'static str,
    /// Its dimensions.
    tensor_shape: TensorShape,
    /// The model's name for it.
    name: String,
}

/// The dimensions of a tensor.
#[derive(Serialize, ToSchema)]
struct TensorShape {
    /// In their order.
    dim: Vec<TensorDim>,
    /// Not so.
    unknown_rank: bool,
}

/// A dimension.
#[derive(Serialize, ToSchema)]
struct TensorDim {
    /// A length, or `-1` for one that each request chooses.
    size: String,
    /// The model's name for a length that is chosen.
    name: String,
}

pub fn status(shared: &Shared, spec: &ModelSpec) -> Result<Response, HttpError> {
    let model_version_status = statuses(shared, spec)?.iter().map(|(v, s)| one(*v, s)).collect();
    Ok(json_answer(StatusCode::OK, &ModelStatus { model_version_status }))
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

fn one(version: u64, status: &VersionStatus) -> OneStatus {
    OneStatus {
        state: status.state.name(),
        status: Health {
            error_code: health(status).as_str_name(),
            error_message: status.error.clone().unwrap_or_default(),
        },
        version: version.to_string(),
    }
}

pub async fn metadata(shared: &Shared, spec: &ModelSpec) -> Result<Response, HttpError> {
    let version = shared.version(spec).await?;
    let signature = version.signature();
    let signature = SignatureDef {
        inputs: tensor_infos(&signature.inputs),
        outputs: tensor_infos(&signature.outputs),
        method_name: PREDICT_METHOD,
    };
    let signature_def = BTreeMap::from([(SIGNATURE, signature)]);
    let body = ServingMetadata {
        model_spec: ServedSpec {
            name: spec.model.clone(),
            signature_name: "",
            version: version.info.version.to_string(),
        },
        metadata: SignatureField { signature_def: SignatureMap { signature_def } },
    };
    Ok(json_answer(StatusCode::OK, &body))
}

fn tensor_infos(specs: &[TensorSpec]) -> BTreeMap<String, TensorInfo> {
    specs.iter().map(|spec| (spec.name.clone(), tensor_info(spec))).collect()
}

fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    let dim = |d: &Dim| match d {
        Dim::Fixed(n) => TensorDim { size: n.to_string(), name: String::new() },
        Dim::Dynamic(name) => TensorDim { size: "-1".to_owned(), name: name.clone() },
    };
    let dim = spec.shape.iter().map(dim).collect();
    TensorInfo {
        dtype: data_type(spec.dtype).as_str_name(),
        tensor_shape: TensorShape { dim, unknown_rank: false },
        name: spec.name.clone(),
    }
}
