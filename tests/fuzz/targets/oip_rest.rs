//! Bodies of the Open Inference Protocol's REST door, against a few signatures. The first two bytes
//! say how long the JSON is: 65535 is unsaid.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ocelli::engine::{Dim, Signature, TensorSpec};
use ocelli::protocol::oip::rest::decode;
use ocelli::tensor::{DType, Data};

fn spec(name: &str, dtype: DType, dims: &[usize]) -> TensorSpec {
    let fixed = dims.iter().map(|d| Dim::Fixed(*d));
    let shape = std::iter::once(Dim::Dynamic("batch".into())).chain(fixed).collect();
    TensorSpec { name: name.into(), dtype, shape }
}

fuzz_target!(|data: &[u8]| {
    let Some((len, body)) = data.split_first_chunk::<2>() else { return };
    let len = match u16::from_le_bytes(*len) {
        u16::MAX => None,
        len => Some(usize::from(len)),
    };
    let mut pieces = Data::new();
    body.chunks(100).for_each(|piece| pieces.push(Bytes::copy_from_slice(piece)));
    let output = || vec![spec("y", DType::F32, &[2])];
    let of = |inputs: Vec<TensorSpec>| Signature::new(inputs, output());
    let mut free = spec("x", DType::F16, &[2]);
    free.shape.push(Dim::Dynamic("n".into()));
    let cases = [
        (of(vec![spec("x", DType::F32, &[2, 2])]), None),
        (of(vec![spec("a", DType::I64, &[]), spec("b", DType::Bool, &[3])]), None),
        (of(vec![spec("image", DType::F32, &[3, 8, 8])]), Some("image")),
        (of(vec![spec("s", DType::Bytes, &[])]), None),
        (of(vec![free]), None),
    ];
    for (signature, image) in &cases {
        let Ok(call) = decode(signature, *image, len, &pieces) else { continue };
        for (name, tensor) in &call.inputs {
            assert!(signature.inputs.iter().any(|i| i.name == *name));
            let elements: usize = tensor.shape().iter().product();
            match tensor.dtype().size() {
                Some(size) => assert_eq!(tensor.data().len(), elements * size),
                None => assert_eq!(tensor.strings().len(), elements),
            }
        }
    }
});
