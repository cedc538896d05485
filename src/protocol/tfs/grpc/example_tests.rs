use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use crate::engine::Dim;
use crate::input::InputValue;
use crate::protocol::pb::tensorflow::feature::Kind;
use crate::protocol::pb::tensorflow::serving::input::Kind as InputKind;
use crate::protocol::pb::tensorflow::serving::{ExampleList, ExampleListWithContext, Input};
use crate::protocol::pb::tensorflow::{
    BytesList, Example, Feature, Features, FloatList, Int64List,
};
use crate::tensor::{DType, Tensor};

const LIMIT: usize = 10_000;

fn spec(name: &str, dtype: DType, inner: &[usize]) -> TensorSpec {
    let fixed = inner.iter().map(|n| if *n == 0 { open() } else { Dim::Fixed(*n) });
    let shape = std::iter::once(Dim::Dynamic("batch".to_owned())).chain(fixed).collect();
    TensorSpec { name: name.to_owned(), dtype, shape }
}

fn open() -> Dim {
    Dim::Dynamic("open".to_owned())
}

fn floats(values: &[f32]) -> Kind {
    Kind::FloatList(FloatList { value: values.to_vec() })
}

fn ints(values: &[i64]) -> Kind {
    Kind::Int64List(Int64List { value: values.to_vec() })
}

fn bytes(values: &[&'static [u8]]) -> Kind {
    Kind::BytesList(BytesList { value: values.iter().map(|v| Bytes::from_static(v)).collect() })
}

fn example(features: &[(&str, Kind)]) -> Example {
    let feature =
        |(name, kind): &(&str, Kind)| ((*name).to_owned(), Feature { kind: Some(kind.clone()) });
    Example { features: Some(Features { feature: features.iter().map(feature).collect() }) }
}

fn list(examples: Vec<Example>) -> Input {
    Input { kind: Some(InputKind::ExampleList(ExampleList { examples })) }
}

fn pieces(bytes: &[u8], step: usize) -> Data {
    let mut data = Data::new();
    bytes.chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
    data
}

fn read_as(input: &Input, specs: &[TensorSpec], image: Option<&str>) -> Result<Inputs, String> {
    let read = read(&pieces(&input.encode_to_vec(), 5)).map_err(|e| e.to_string())?;
    read.inputs(specs, image, LIMIT).map_err(|e| e.to_string())
}

#[track_caller]
fn refused(input: &Input, spec: &TensorSpec, says: &str) {
    let error = read_as(input, std::slice::from_ref(spec), Some("image")).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[track_caller]
fn numbers(input: &Input, spec: TensorSpec) -> (Vec<usize>, Vec<f32>) {
    let inputs = read_as(input, &[spec], None).unwrap();
    let [(_, InputValue::Tensor(tensor))] = &inputs[..] else { panic!("{inputs:?}") };
    (tensor.shape().to_vec(), tensor.to_f32().unwrap())
}

#[test]
fn features_become_rows() {
    let two = list(vec![
        example(&[("x", floats(&[1.0, 2.0])), ("label", ints(&[7]))]),
        example(&[("x", floats(&[3.0, 4.0]))]),
    ]);
    assert_eq!(numbers(&two, spec("x", DType::F32, &[2])), (vec![2, 2], vec![1., 2., 3., 4.]));
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        assert_eq!(numbers(&two, spec("x", dtype, &[2, 1])).1, [1., 2., 3., 4.]);
    }
    assert_eq!(numbers(&two, spec("x", DType::F32, &[1, 0])).0, [2, 1, 2]);
    let whole = list(vec![example(&[("x", ints(&[0, 1]))])]);
    for dtype in DType::ALL.into_iter().filter(|d| *d != DType::Bytes) {
        assert_eq!(numbers(&whole, spec("x", dtype, &[2])), (vec![1, 2], vec![0.0, 1.0]));
    }
    let text = list(vec![example(&[("x", bytes(&[b"a", b"bc"]))])]);
    let inputs = read_as(&text, &[spec("x", DType::Bytes, &[2])], None).unwrap();
    let tensor = Tensor::from_strings(vec![1, 2], &["a", "bc"]).unwrap();
    assert_eq!(inputs, [("x".to_owned(), InputValue::Tensor(tensor))]);
}

#[test]
fn the_context_goes_for_examples_that_have_no_feature_of_their_own() {
    let kind = InputKind::ExampleListWithContext(ExampleListWithContext {
        examples: vec![example(&[]), example(&[("x", floats(&[2.0]))])],
        context: Some(example(&[("x", floats(&[1.0]))])),
    });
    let input = Input { kind: Some(kind) };
    assert_eq!(numbers(&input, spec("x", DType::F32, &[1])), (vec![2, 1], vec![1.0, 2.0]));
}

#[test]
fn bytes_for_an_image_input_are_images() {
    let photos = list(vec![
        example(&[("image", bytes(&[b"one"]))]),
        example(&[("image", bytes(&[b"two"]))]),
    ]);
    let image = spec("image", DType::F32, &[2]);
    let inputs = read_as(&photos, std::slice::from_ref(&image), Some("image")).unwrap();
    let images = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    assert_eq!(inputs, [("image".to_owned(), InputValue::Images(images))]);
    let two = list(vec![example(&[("image", bytes(&[b"1", b"2"]))])]);
    refused(&two, &image, "examples[0]: input `image`: expected one image a row, got 2");
    let (photo, pixels) = (bytes(&[b"1"]), floats(&[1.0, 2.0]));
    let mixed =
        list(vec![example(&[("image", photo.clone())]), example(&[("image", pixels.clone())])]);
    refused(&mixed, &image, "examples[1]: input `image`: a row has elements where others");
    let mixed = list(vec![example(&[("image", pixels)]), example(&[("image", photo)])]);
    refused(&mixed, &image, "examples[1]: input `image`: a row has an image where others");
}

#[test]
fn what_does_not_fit_is_told() {
    let x = spec("x", DType::F32, &[2]);
    let one = |kind| list(vec![example(&[("x", kind)])]);
    refused(&Input { kind: None }, &x, "Input is empty.");
    refused(&list(Vec::new()), &x, "Input is empty.");
    refused(&list(vec![example(&[])]), &x, "examples[0]: input `x` is missing");
    let empty = Features { feature: [("x".to_owned(), Feature { kind: None })].into() };
    refused(&list(vec![Example { features: Some(empty) }]), &x, "the feature has no values");
    refused(&one(floats(&[1.0])), &x, "a row of x FP32 [batch,2] has 2 values, got 1");
    refused(&one(bytes(&[b"a"])), &x, "expected FP32, got bytes_list");
    let i = spec("x", DType::I8, &[1]);
    refused(&one(floats(&[1.0])), &i, "expected INT8, got float_list");
    refused(&one(ints(&[128])), &i, "128 is out of the range of INT8");
    refused(&one(ints(&[2])), &spec("x", DType::Bool, &[1]), "2 is neither 0 nor 1");
    refused(&one(ints(&[2])), &spec("x", DType::Bytes, &[1]), "expected BYTES, got int64_list");
    refused(&one(floats(&[1.0])), &spec("x", DType::F32, &[0, 0]), "no one shape; use Predict");
    let scalar = TensorSpec { shape: Vec::new(), ..x.clone() };
    refused(&one(floats(&[1.0])), &scalar, "has no rows");
}

#[test]
fn a_context_does_not_grow_beyond_the_limit() {
    let kind = InputKind::ExampleListWithContext(ExampleListWithContext {
        examples: vec![example(&[]); 1000],
        context: Some(example(&[("x", floats(&[1.0; 100]))])),
    });
    let input = Input { kind: Some(kind) };
    let read = read(&Data::from(Bytes::from(input.encode_to_vec()))).unwrap();
    assert_eq!(read.growth(LIMIT), LIMIT);
    assert!(read.growth(usize::MAX) > 400_000);
    refused(&input, &spec("x", DType::F32, &[100]), "more bytes than a request may");
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(
        noise in prop::collection::vec(any::<u8>(), 0..30),
        at in 0usize..100,
        step in 1usize..20,
    ) {
        let input = list(vec![
            example(&[("x", floats(&[1.0, 2.0])), ("n", ints(&[7]))]),
            example(&[("x", floats(&[3.0, 4.0])), ("s", bytes(&[b"a"]))]),
        ]);
        let mut message = input.encode_to_vec();
        let at = at.min(message.len());
        let end = (at + noise.len() / 2).min(message.len());
        message.splice(at..end, noise);
        if let Ok(read) = read(&pieces(&message, step)) {
            for dtype in DType::ALL {
                let _ = read.inputs(&[spec("x", dtype, &[2])], None, LIMIT);
                let _ = read.inputs(&[spec("s", dtype, &[0])], Some("s"), LIMIT);
            }
        }
    }
}
