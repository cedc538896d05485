//! A body that is one input's data and nothing else ("Raw Binary Request" in
//! docs/protocol/extension_binary_data.md of Triton).

use super::HEADER_LENGTH;
use crate::engine::{BatchMode, Dim, Signature, TensorSpec};
use crate::protocol::oip::infer::{Call, Parameters};
use crate::tensor::{DType, Data, Tensor, elements};

/// One row for the only input. All outputs are wanted, as bytes.
pub fn decode(signature: &Signature, image: Option<&str>, body: &Data) -> Result<Call, String> {
    let [spec] = &signature.inputs[..] else {
        let n = signature.inputs.len();
        return Err(format!(
            "a raw body ({HEADER_LENGTH}: 0) is for a model of one input, this one has {n}"
        ));
    };
    let batched = signature.batch_mode != BatchMode::Whole;
    let tensor = if image == Some(&spec.name) {
        bytes(vec![1], body)
    } else {
        let shape = shape(spec, batched, body.len())?;
        match spec.dtype {
            DType::Bytes => bytes(shape, body),
            dtype => Tensor::new(dtype, shape, body.clone()).map_err(|e| e.to_string()),
        }
    };
    let tensor = tensor.map_err(|e| format!("input `{}`: {e}", spec.name))?;
    let parameters = Parameters { binary_data_output: true, ..Parameters::default() };
    Ok(Call { parameters, inputs: vec![(spec.name.clone(), tensor)], ..Call::default() })
}

/// The body is the string itself: no length stands before it.
fn bytes(shape: Vec<usize>, body: &Data) -> Result<Tensor, String> {
    if elements(&shape) != Ok(1) {
        return Err(format!("raw BYTES are one string, the input takes {shape:?}"));
    }
    Tensor::from_strings(shape, &[body.to_bytes()]).map_err(|e| e.to_string())
}

/// The declared shape with a batch of 1; one more dimension may be what the length makes it.
fn shape(spec: &TensorSpec, batched: bool, len: usize) -> Result<Vec<usize>, String> {
    let mut free = None;
    let mut shape = Vec::with_capacity(spec.shape.len());
    for (at, dim) in spec.shape.iter().enumerate() {
        shape.push(match dim {
            _ if at == 0 && batched => 1,
            Dim::Fixed(n) => *n,
            Dim::Dynamic(_) if free.replace(at).is_none() => 1,
            Dim::Dynamic(_) => {
                return Err(format!(
                    "a raw body tells no more than one variable dimension; the input is {spec}"
                ));
            }
        });
    }
    if let (Some(at), Some(size)) = (free, spec.dtype.size()) {
        let unit = elements(&shape).ok().and_then(|n| n.checked_mul(size)).filter(|n| *n > 0);
        match unit {
            Some(unit) if len > 0 && len.is_multiple_of(unit) => shape[at] = len / unit,
            _ => return Err(format!("{len} bytes make no whole input {spec}")),
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn signature(dtype: DType, dims: &[&str]) -> Signature {
        let dim = |d: &&str| d.parse().map_or_else(|_| Dim::Dynamic((*d).to_owned()), Dim::Fixed);
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            dtype,
            shape: dims.iter().map(dim).collect(),
        };
        Signature::new(vec![spec("x")], vec![spec("y")])
    }

    fn read(signature: &Signature, image: Option<&str>, body: &[u8]) -> Result<Tensor, String> {
        let body = Data::from(Bytes::copy_from_slice(body));
        let mut call = decode(signature, image, &body)?;
        assert!(call.parameters.binary_data_output);
        Ok(call.inputs.remove(0).1)
    }

    #[track_caller]
    fn check(dtype: DType, dims: &[&str], len: usize, expected: Option<&[usize]>) {
        let read = read(&signature(dtype, dims), None, &vec![0; len]);
        assert_eq!(read.as_ref().ok().map(Tensor::shape), expected, "{read:?}");
    }

    #[test]
    fn the_batch_is_one_and_one_more_dimension_is_deduced() {
        check(DType::F32, &["batch", "2"], 8, Some(&[1, 2]));
        check(DType::F32, &["batch", "2"], 16, None);
        check(DType::F32, &["4", "2"], 8, Some(&[1, 2]));
        check(DType::F32, &["batch", "n"], 12, Some(&[1, 3]));
        check(DType::F32, &["batch", "n", "2"], 12, None);
        check(DType::F32, &["batch", "n"], 0, None);
        check(DType::F32, &["batch", "h", "w"], 4, None);
        check(DType::U8, &["batch", "n", "0"], 4, None);
    }

    #[test]
    fn a_string_is_the_whole_body() {
        let strings = read(&signature(DType::Bytes, &["batch"]), None, b"\xffhi").unwrap();
        assert_eq!(strings.strings(), [&b"\xffhi"[..]]);
        let image = signature(DType::F32, &["batch", "3", "8", "8"]);
        assert_eq!(read(&image, Some("x"), b"JPEG").unwrap().strings(), [&b"JPEG"[..]]);
        assert!(read(&signature(DType::Bytes, &["batch", "2"]), None, b"hi").is_err());
    }

    #[test]
    fn it_is_for_one_input() {
        let mut two = signature(DType::U8, &["batch"]);
        two.inputs.push(two.inputs[0].clone());
        assert!(read(&two, None, b"x").unwrap_err().contains("this one has 2"));
    }
}
