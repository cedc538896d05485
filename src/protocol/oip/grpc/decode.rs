//! `ModelInferRequest` into a call.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use crate::error::InferError;
use crate::protocol::grpc::split::split;
use crate::protocol::oip::NO_SHARED_MEMORY;
use crate::protocol::oip::infer::{Call, Parameters, Wanted};
use crate::protocol::pb::inference::infer_parameter::ParameterChoice;
use crate::protocol::pb::inference::model_infer_request::InferInputTensor;
use crate::protocol::pb::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::tensor::{DType, Data, Tensor, elements};

/// The field `raw_input_contents`.
const RAW: u32 = 7;

/// A request, understood as far as that is possible without the model.
#[derive(Debug)]
pub struct InferMessage {
    /// The model's name.
    pub model: String,
    /// Its version's text.
    pub version: String,
    /// What is asked of it.
    pub call: Call,
    /// Whether tensors came in typed fields, and so go back in them.
    pub typed: bool,
}

/// Reads a message. Raw tensors are slices of it, in the pieces it came in.
pub fn decode(data: Data) -> Result<InferMessage, InferError> {
    let (request, raw) = split::<ModelInferRequest>(&data, RAW, "ModelInferRequest")?;
    let (model, version) = (request.model_name, request.model_version);
    let wrong = |what: String| InferError::Invalid(format!("{model}: {what}"));
    let typed = raw.is_empty() && request.inputs.iter().any(|i| i.contents.is_some());
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        return Err(wrong(format!(
            "{} inputs, but {} raw_input_contents; there is one for each input",
            request.inputs.len(),
            raw.len()
        )));
    }
    let mut raw = raw.into_iter();
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        refuse_shared_memory(&input.parameters)?;
        let name = input.name.clone();
        let tensor =
            tensor(input, raw.next()).map_err(|e| wrong(format!("input `{name}`: {e}")))?;
        inputs.push((name, tensor));
    }
    let mut outputs = Vec::with_capacity(request.outputs.len());
    for output in request.outputs {
        refuse_shared_memory(&output.parameters)?;
        let classes = number(&output.parameters, "classification").map_err(&wrong)?;
        let classification = classes.unwrap_or_default() as usize;
        outputs.push(Wanted { name: output.name, classification, binary: None });
    }
    let parameters = Parameters {
        priority: number(&request.parameters, "priority").map_err(&wrong)?.unwrap_or_default(),
        timeout: number(&request.parameters, "timeout")
            .map_err(&wrong)?
            .filter(|us| *us > 0)
            .map(Duration::from_micros),
        binary_data_output: false,
    };
    let call = Call { id: request.id, parameters, inputs, outputs };
    Ok(InferMessage { model, version, call, typed })
}

fn tensor(input: InferInputTensor, raw: Option<Data>) -> Result<Tensor, String> {
    let dtype = DType::from_name(&input.datatype).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().map(|d| d.name()).collect();
        format!("datatype `{}` is not known; there are {}", input.datatype, known.join(", "))
    })?;
    let shape: Vec<usize> = input
        .shape
        .iter()
        .map(|d| usize::try_from(*d))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("shape {:?} has a negative dimension", input.shape))?;
    match (raw, input.contents) {
        (Some(_), Some(contents)) if contents != InferTensorContents::default() => {
            Err("it has both contents and raw_input_contents".to_owned())
        }
        (Some(raw), _) => Tensor::new(dtype, shape, raw).map_err(|e| e.to_string()),
        (None, Some(contents)) => typed(dtype, shape, contents),
        (None, None) => Err("it has neither contents nor raw_input_contents".to_owned()),
    }
}

/// From the field of the datatype; values must fit the datatype, and nothing else may be there.
fn typed(dtype: DType, shape: Vec<usize>, c: InferTensorContents) -> Result<Tensor, String> {
    fn bytes<T: Copy, const N: usize>(
        values: &[T],
        f: impl Fn(T) -> Result<[u8; N], String>,
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(values.len() * N);
        for value in values {
            out.extend_from_slice(&f(*value)?);
        }
        Ok(out)
    }
    /// Narrows, or says which value is out of range.
    macro_rules! narrow {
        ($values:expr, $t:ty) => {
            bytes($values, |v| {
                <$t>::try_from(v)
                    .map(<$t>::to_le_bytes)
                    .map_err(|_| format!("{v} is out of the range of {dtype}"))
            })
        };
    }
    let count = [
        c.bool_contents.len(),
        c.int_contents.len(),
        c.int64_contents.len(),
        c.uint_contents.len(),
        c.uint64_contents.len(),
        c.fp32_contents.len(),
        c.fp64_contents.len(),
        c.bytes_contents.len(),
    ];
    let (field, at) = match dtype {
        DType::Bool => ("bool_contents", 0),
        DType::I8 | DType::I16 | DType::I32 => ("int_contents", 1),
        DType::I64 => ("int64_contents", 2),
        DType::U8 | DType::U16 | DType::U32 => ("uint_contents", 3),
        DType::U64 => ("uint64_contents", 4),
        DType::F32 => ("fp32_contents", 5),
        DType::F64 => ("fp64_contents", 6),
        DType::Bytes => ("bytes_contents", 7),
        DType::F16 | DType::BF16 => {
            return Err(format!("{dtype} has no typed field; send raw_input_contents"));
        }
    };
    if count.iter().enumerate().any(|(i, n)| i != at && *n > 0) {
        return Err(format!("{dtype} goes into {field}, and nothing else"));
    }
    let wanted = elements(&shape).map_err(|e| e.to_string())?;
    if count[at] != wanted {
        let got = count[at];
        return Err(format!("shape {shape:?} takes {wanted} values of {field}, got {got}"));
    }
    let data = match dtype {
        DType::Bool => bytes(&c.bool_contents, |v| Ok([u8::from(v)]))?,
        DType::I8 => narrow!(&c.int_contents, i8)?,
        DType::I16 => narrow!(&c.int_contents, i16)?,
        DType::I32 => bytes(&c.int_contents, |v| Ok(v.to_le_bytes()))?,
        DType::I64 => bytes(&c.int64_contents, |v| Ok(v.to_le_bytes()))?,
        DType::U8 => narrow!(&c.uint_contents, u8)?,
        DType::U16 => narrow!(&c.uint_contents, u16)?,
        DType::U32 => bytes(&c.uint_contents, |v| Ok(v.to_le_bytes()))?,
        DType::U64 => bytes(&c.uint64_contents, |v| Ok(v.to_le_bytes()))?,
        DType::F64 => bytes(&c.fp64_contents, |v| Ok(v.to_le_bytes()))?,
        DType::Bytes => {
            return Tensor::from_strings(shape, &c.bytes_contents).map_err(|e| e.to_string());
        }
        _ => bytes(&c.fp32_contents, |v| Ok(v.to_le_bytes()))?,
    };
    Tensor::new(dtype, shape, Bytes::from(data)).map_err(|e| e.to_string())
}

type Map = HashMap<String, InferParameter>;

fn number(parameters: &Map, name: &str) -> Result<Option<u64>, String> {
    let Some(parameter) = parameters.get(name) else { return Ok(None) };
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(n)) => u64::try_from(n).ok(),
        Some(ParameterChoice::Uint64Param(n)) => Some(n),
        _ => None,
    };
    number.map(Some).ok_or_else(|| format!("parameter `{name}` is a whole number, not below 0"))
}

fn refuse_shared_memory(parameters: &Map) -> Result<(), InferError> {
    match parameters.contains_key("shared_memory_region") {
        true => Err(InferError::Unimplemented(NO_SHARED_MEMORY.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
