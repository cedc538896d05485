//! `tensorflow.TensorProto` (tensorflow/core/framework/tensor.proto, tensor.cc) to and from tensors.

mod decode;
mod typed;

use crate::protocol::pb::tensorflow::tensor_shape_proto::Dim;
use crate::protocol::pb::tensorflow::{DataType, TensorProto, TensorShapeProto};
use crate::tensor::{DType, Tensor};

pub use decode::Scanned;

/// TensorFlow's name for an element type.
pub const fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::Bool => DataType::DtBool,
        DType::U8 => DataType::DtUint8,
        DType::U16 => DataType::DtUint16,
        DType::U32 => DataType::DtUint32,
        DType::U64 => DataType::DtUint64,
        DType::I8 => DataType::DtInt8,
        DType::I16 => DataType::DtInt16,
        DType::I32 => DataType::DtInt32,
        DType::I64 => DataType::DtInt64,
        DType::F16 => DataType::DtHalf,
        DType::BF16 => DataType::DtBfloat16,
        DType::F32 => DataType::DtFloat,
        DType::F64 => DataType::DtDouble,
        DType::Bytes => DataType::DtString,
    }
}

/// A tensor in the typed fields, as TensorFlow Serving answers (`kAsProtoField` in
/// servables/tensorflow/predict_util.cc): clients read `float_val` without more ado.
pub fn encode(tensor: &Tensor) -> TensorProto {
    fn each<T, const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        data.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
    }
    let dim = |n: &usize| Dim { size: *n as i64, name: String::new() };
    let dim = tensor.shape().iter().map(dim).collect();
    let mut proto = TensorProto {
        dtype: data_type(tensor.dtype()).into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        ..TensorProto::default()
    };
    let joined = tensor.bytes();
    let d = &joined[..];
    match tensor.dtype() {
        DType::Bool => proto.bool_val = each(d, |b: [u8; 1]| b[0] != 0),
        DType::U8 => proto.int_val = each(d, |b| u8::from_le_bytes(b).into()),
        DType::I8 => proto.int_val = each(d, |b| i8::from_le_bytes(b).into()),
        DType::U16 => proto.int_val = each(d, |b| u16::from_le_bytes(b).into()),
        DType::I16 => proto.int_val = each(d, |b| i16::from_le_bytes(b).into()),
        DType::I32 => proto.int_val = each(d, i32::from_le_bytes),
        DType::I64 => proto.int64_val = each(d, i64::from_le_bytes),
        DType::U32 => proto.uint32_val = each(d, u32::from_le_bytes),
        DType::U64 => proto.uint64_val = each(d, u64::from_le_bytes),
        DType::F16 | DType::BF16 => {
            proto.half_val = each(d, |b| u16::from_le_bytes(b).into());
        }
        DType::F32 => proto.float_val = each(d, f32::from_le_bytes),
        DType::F64 => proto.double_val = each(d, f64::from_le_bytes),
        DType::Bytes => proto.string_val = tensor.strings(),
    }
    proto
}

#[cfg(test)]
mod tests;
