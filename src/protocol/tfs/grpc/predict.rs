//! `Predict`: named tensors in, named tensors out (apis/predict.proto,
//! servables/tensorflow/predict_util.cc).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compute::{Inputs, compute, encode};
use super::spec;
use super::tensor_proto::{self, Scanned};
use crate::error::InferError;
use crate::input::InputValue;
use crate::protocol::body::Share;
use crate::protocol::grpc::call::{Context, finish};
use crate::protocol::grpc::wire::Fields;
use crate::protocol::pb::tensorflow::serving::{ModelSpec, PredictResponse};
use crate::protocol::tfs::decode::check_signature;
use crate::router::ServedVersion;
use crate::service::Routed;
use crate::tensor::{DType, Data, Tensor};

/// Names of inputs or outputs in one request at most: no model has so many.
const MAX_NAMES: usize = 4096;

/// A `PredictRequest` whose tensors still are as they came.
#[derive(Debug, Default)]
pub struct Predict {
    spec: Option<ModelSpec>,
    inputs: BTreeMap<String, Data>,
    /// The outputs that are wanted; none means all.
    filter: BTreeSet<String>,
}

/// Reads a message apart from its tensors.
pub fn decode(data: Data) -> Result<Predict, InferError> {
    let mut request = Predict::default();
    for field in Fields::new(&data, "PredictRequest") {
        let field = field?;
        match field.number {
            1 => field.merge(request.spec.get_or_insert_default())?,
            2 => {
                let (name, tensor) = entry(&field.data()?)?;
                request.inputs.insert(name, tensor);
            }
            3 => {
                let name = field.text()?;
                if request.filter.contains(&name) {
                    let what = format!("duplicate output tensor alias: {name}");
                    return Err(InferError::Invalid(what));
                }
                request.filter.insert(name);
            }
            _ => {}
        }
        if request.inputs.len().max(request.filter.len()) > MAX_NAMES {
            let what = format!("a request names {MAX_NAMES} inputs and as many outputs at most");
            return Err(InferError::Invalid(what));
        }
    }
    Ok(request)
}

/// A map's entry: its key and its value.
fn entry(data: &Data) -> Result<(String, Data), InferError> {
    let (mut name, mut tensor) = (String::new(), Data::new());
    for field in Fields::new(data, "PredictRequest.InputsEntry") {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => tensor = field.data()?,
            _ => {}
        }
    }
    Ok((name, tensor))
}

impl Predict {
    /// The tensors, which take no more than `limit` bytes together.
    pub fn tensors(self, limit: usize) -> Result<Vec<(String, Tensor)>, InferError> {
        tensors(scan(self.inputs)?, limit)
    }
}

type Tensors<T> = Vec<(String, T)>;

fn scan(inputs: BTreeMap<String, Data>) -> Result<Tensors<Scanned>, InferError> {
    let one = |(name, data): (String, Data)| match Scanned::scan(data) {
        Ok(scanned) => Ok((name, scanned)),
        Err(error) => Err(of_input(&name, error)),
    };
    inputs.into_iter().map(one).collect()
}

fn tensors(scanned: Tensors<Scanned>, limit: usize) -> Result<Tensors<Tensor>, InferError> {
    let mut left = limit;
    let one = |(name, scanned): (String, Scanned)| {
        let tensor = scanned.tensor(left).map_err(|e| of_input(&name, e))?;
        left -= tensor.data().len();
        Ok((name, tensor))
    };
    scanned.into_iter().map(one).collect()
}

fn of_input(name: &str, error: InferError) -> InferError {
    InferError::Invalid(format!("input `{name}`: {error}"))
}

/// The RPC.
pub async fn predict(
    context: Arc<Context>,
    request: Predict,
) -> Result<PredictResponse, InferError> {
    let routed = context.route(&spec::read(request.spec.as_ref())?, "Predict").await?;
    let answer = run(&context, &routed, request).await;
    finish(routed, answer)
}

async fn run(
    context: &Context,
    routed: &Routed,
    request: Predict,
) -> Result<PredictResponse, InferError> {
    let version = &routed.version;
    let blame = |e: InferError| version.invalid(e.to_string());
    check_signature(version, &request.spec.unwrap_or_default().signature_name)?;
    let wanted = wanted(version, &request.filter)?;
    let scanned = scan(request.inputs).map_err(blame)?;
    let bodies = &context.shared.bodies;
    let limit = bodies.limit();
    // A value that stands for many takes room that its message did not.
    let growth = scanned.iter().try_fold(0usize, |sum, (name, scanned)| {
        let growth = scanned.growth(limit).map_err(|e| of_input(name, e))?;
        Ok(sum.saturating_add(growth).min(limit))
    });
    let growth = growth.map_err(blame)?;
    let mut share = Share::default();
    bodies.grow(&mut share, growth)?;
    let work = growth + scanned.iter().map(|(_, scanned)| scanned.work()).sum::<usize>();
    let decode = move |version: &ServedVersion| -> Result<Inputs, InferError> {
        let tensors = tensors(scanned, limit).map_err(|e| version.invalid(e.to_string()))?;
        let value = |(name, tensor): (String, Tensor)| {
            let value = value(version, &name, tensor);
            (name, value)
        };
        Ok(tensors.into_iter().map(value).collect())
    };
    let computed = compute(context, routed, work, decode).await?;
    let bytes = wanted.iter().filter_map(|at| computed.outputs.get(*at));
    let bytes = bytes.map(|tensor| tensor.data().len()).sum();
    let answering = version.clone();
    let respond = move || respond(&answering, &wanted, &computed.outputs);
    encode(context, routed, bytes, respond).await
}

/// Byte strings for an image input are encoded images.
fn value(version: &ServedVersion, name: &str, tensor: Tensor) -> InputValue {
    match version.image_input() {
        Some(spec) if spec.name == name && tensor.dtype() == DType::Bytes => {
            InputValue::Images(tensor.strings())
        }
        _ => InputValue::Tensor(tensor),
    }
}

/// Where the wanted outputs stand in the signature.
fn wanted(version: &ServedVersion, filter: &BTreeSet<String>) -> Result<Vec<usize>, InferError> {
    let outputs = &version.signature().outputs;
    if filter.is_empty() {
        return Ok((0..outputs.len()).collect());
    }
    let place = |name: &String| {
        outputs.iter().position(|o| o.name == *name).ok_or_else(|| {
            let known: Vec<_> = outputs.iter().map(|o| o.name.as_str()).collect();
            version.invalid(format!(
                "output tensor alias not found in signature: {name} Outputs expected to be in the \
                 set {{{}}}.",
                known.join(",")
            ))
        })
    };
    filter.iter().map(place).collect()
}

fn respond(version: &ServedVersion, wanted: &[usize], outputs: &[Tensor]) -> PredictResponse {
    let named = wanted.iter().filter_map(|at| {
        let name = version.signature().outputs.get(*at)?.name.clone();
        Some((name, tensor_proto::encode(outputs.get(*at)?)))
    });
    PredictResponse { outputs: named.collect(), model_spec: Some(spec::answered(version)) }
}

#[cfg(test)]
#[path = "predict_tests.rs"]
mod tests;
