//! Request bodies of TensorFlow Serving's REST API, against a few signatures.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocelli::engine::{Dim, TensorSpec};
use ocelli::input::InputValue;
use ocelli::protocol::tfs::json::{parse_examples, parse_predict};
use ocelli::tensor::DType;

fn spec(name: &str, dtype: DType, dims: &[usize]) -> TensorSpec {
    let fixed = dims.iter().map(|d| Dim::Fixed(*d));
    let shape = std::iter::once(Dim::Dynamic("batch".into())).chain(fixed).collect();
    TensorSpec { name: name.into(), dtype, shape }
}

fuzz_target!(|data: &[u8]| {
    let float = [spec("x", DType::F32, &[2, 2])];
    let mixed = [spec("a", DType::I64, &[]), spec("b", DType::U8, &[3])];
    let photo = [spec("image", DType::F32, &[3, 8, 8])];
    let half = [spec("h", DType::F16, &[2])];
    let cases: [(&[TensorSpec], Option<&str>); 4] =
        [(&float, None), (&mixed, None), (&photo, Some("image")), (&half, None)];
    for (inputs, image) in cases {
        for parse in [parse_predict, parse_examples] {
            let Ok(request) = parse(data, inputs, image) else { continue };
            assert_eq!(request.inputs.len(), inputs.len());
            for (name, value) in &request.inputs {
                let spec = inputs.iter().find(|i| i.name == *name).expect("a declared input");
                if let InputValue::Tensor(tensor) = value {
                    assert_eq!(tensor.dtype(), spec.dtype);
                    let numbers: usize = tensor.shape().iter().product();
                    assert_eq!(tensor.to_f32().map(|v| v.len()), Some(numbers));
                }
            }
        }
    }
});
