//! A body into a call: all JSON, JSON with binary tensors behind it, or one raw tensor.

use bytes::Bytes;

use super::HEADER_LENGTH;
use super::json::{self, Source};
use super::raw;
use crate::engine::Signature;
use crate::protocol::oip::NO_SHARED_MEMORY;
use crate::protocol::oip::infer::Call;
use crate::tensor::{Data, Tensor};

/// Why a body is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is wrong.
    Invalid(String),
    /// It asks for what is left out on purpose.
    LeftOut(&'static str),
}

/// Reads a body for a model of this signature, of whose inputs `image` takes encoded images. The
/// first `json_len` bytes are JSON, or all of them if that is not told; 0 is a raw body. Binary
/// tensors are slices of it, in the pieces it came in.
pub fn decode(
    signature: &Signature,
    image: Option<&str>,
    json_len: Option<usize>,
    body: &Data,
) -> Result<Call, Refusal> {
    let json_len = match json_len {
        Some(0) => return raw::decode(signature, image, body).map_err(Refusal::Invalid),
        Some(len) if len > body.len() => {
            let got = body.len();
            let what = format!("{HEADER_LENGTH} is {len}, but the body has {got} bytes");
            return Err(Refusal::Invalid(what));
        }
        Some(len) => len,
        None => body.len(),
    };
    let text = body.slice(0..json_len).to_bytes();
    let head = json::parse(&text, signature).map_err(|e| Refusal::Invalid(e.to_string()))?;
    if head.shared_memory {
        return Err(Refusal::LeftOut(NO_SHARED_MEMORY));
    }
    let inputs = tensors(head.inputs, body.slice(json_len..body.len()));
    let inputs = inputs.map_err(Refusal::Invalid)?;
    Ok(Call { id: head.id, parameters: head.parameters, inputs, outputs: head.outputs })
}

/// The inputs' tensors; `binary` is what follows the JSON.
fn tensors(inputs: Vec<json::Input>, binary: Data) -> Result<Vec<(String, Tensor)>, String> {
    let mut reader = binary.reader();
    let mut left = binary.len();
    let mut named = Vec::with_capacity(inputs.len());
    for json::Input { name, dtype, shape, source } in inputs {
        let data = match source {
            Source::Json(bytes) => Data::from(Bytes::from(bytes)),
            Source::Binary(size) if size <= left => {
                left -= size;
                reader.take_data(size)
            }
            Source::Binary(size) => {
                return Err(format!(
                    "input `{name}`: binary_data_size is {size}, but {left} bytes are left of the body"
                ));
            }
        };
        let tensor = Tensor::new(dtype, shape, data).map_err(|e| format!("input `{name}`: {e}"))?;
        named.push((name, tensor));
    }
    match left {
        0 => Ok(named),
        _ => Err(format!("{left} bytes of the body are no input's")),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
