//! Outputs into `ModelInferResponse`.

use bytes::Bytes;

use crate::protocol::pb::inference::model_infer_response::InferOutputTensor;
use crate::protocol::pb::inference::{InferTensorContents, ModelInferResponse};
use crate::router::ServedVersion;
use crate::tensor::{DType, Tensor};

/// An answer, in typed fields if the request came so. FP16 and BF16 have none: then all is raw.
pub fn response(
    version: &ServedVersion,
    id: String,
    outputs: Vec<(String, Tensor)>,
    typed: bool,
) -> ModelInferResponse {
    let has_none = |dtype| matches!(dtype, DType::F16 | DType::BF16);
    let typed = typed && !outputs.iter().any(|(_, t)| has_none(t.dtype()));
    let mut response = ModelInferResponse {
        model_name: version.info.model.to_string(),
        model_version: version.info.version.to_string(),
        id,
        ..Default::default()
    };
    for (name, tensor) in outputs {
        response.outputs.push(InferOutputTensor {
            name,
            datatype: tensor.dtype().name().to_owned(),
            shape: tensor.shape().iter().map(|d| *d as i64).collect(),
            contents: typed.then(|| contents(&tensor)),
            ..Default::default()
        });
        if !typed {
            response.raw_output_contents.push(tensor.bytes());
        }
    }
    response
}

fn contents(tensor: &Tensor) -> InferTensorContents {
    fn each<const N: usize, T>(data: &Bytes, f: impl Fn([u8; N]) -> T) -> Vec<T> {
        data.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
    }
    let (mut c, data) = (InferTensorContents::default(), &tensor.bytes());
    match tensor.dtype() {
        DType::Bool => c.bool_contents = each(data, |[b]| b != 0),
        DType::I8 => c.int_contents = each(data, |b| i32::from(i8::from_le_bytes(b))),
        DType::I16 => c.int_contents = each(data, |b| i32::from(i16::from_le_bytes(b))),
        DType::I32 => c.int_contents = each(data, i32::from_le_bytes),
        DType::I64 => c.int64_contents = each(data, i64::from_le_bytes),
        DType::U8 => c.uint_contents = each(data, |[b]| u32::from(b)),
        DType::U16 => c.uint_contents = each(data, |b| u32::from(u16::from_le_bytes(b))),
        DType::U32 => c.uint_contents = each(data, u32::from_le_bytes),
        DType::U64 => c.uint64_contents = each(data, u64::from_le_bytes),
        DType::F32 => c.fp32_contents = each(data, f32::from_le_bytes),
        DType::F64 => c.fp64_contents = each(data, f64::from_le_bytes),
        DType::Bytes => c.bytes_contents = tensor.strings(),
        // Their caller sends them raw.
        DType::F16 | DType::BF16 => {}
    }
    c
}
