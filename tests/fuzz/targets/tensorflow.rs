//! Messages of TensorFlow Serving's gRPC API: a `PredictRequest`, and an `Input` of examples.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ocelli::engine::{Dim, TensorSpec};
use ocelli::input::InputValue;
use ocelli::protocol::tfs::grpc::{decode_predict, read_examples};
use ocelli::tensor::{DType, Data};

/// Bytes that the tensors of a request may take.
const LIMIT: usize = 1 << 16;

fn spec(name: &str, dtype: DType, inner: Dim) -> TensorSpec {
    let shape = vec![Dim::Dynamic("batch".into()), inner];
    TensorSpec { name: name.into(), dtype, shape }
}

fuzz_target!(|data: &[u8]| {
    // In pieces, as a socket gives them.
    let mut pieces = Data::new();
    data.chunks(data.len() % 13 + 1).for_each(|c| pieces.push(Bytes::copy_from_slice(c)));
    if let Ok(request) = decode_predict(pieces.clone())
        && let Ok(tensors) = request.tensors(LIMIT)
    {
        let bytes: usize = tensors.iter().map(|(_, t)| t.data().len()).sum();
        assert!(bytes <= LIMIT, "{bytes} bytes");
        for (_, tensor) in &tensors {
            let elements: usize = tensor.shape().iter().product();
            let found = match tensor.to_f32() {
                Some(numbers) => numbers.len(),
                None => tensor.strings().len(),
            };
            assert_eq!(found, elements);
        }
    }
    let Ok(examples) = read_examples(&pieces) else { return };
    for dtype in DType::ALL {
        for (inner, image) in
            [(Dim::Fixed(2), None), (Dim::Dynamic("n".into()), None), (Dim::Fixed(2), Some("x"))]
        {
            let Ok(inputs) = examples.inputs(&[spec("x", dtype, inner)], image, LIMIT) else {
                continue;
            };
            if let [(_, InputValue::Tensor(tensor))] = &inputs[..] {
                assert_eq!(tensor.dtype(), dtype);
                assert!(tensor.data().len() <= LIMIT);
            }
        }
    }
});
