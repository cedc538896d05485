use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use crate::protocol::pb::tensorflow::TensorProto;
use crate::protocol::pb::tensorflow::serving::PredictRequest;

const LIMIT: usize = 10_000;

fn request(tensors: &[(&str, &Tensor)]) -> PredictRequest {
    let encoded =
        |(name, tensor): &(&str, &Tensor)| ((*name).to_owned(), tensor_proto::encode(tensor));
    let spec = ModelSpec { name: "m".to_owned(), ..ModelSpec::default() };
    PredictRequest {
        model_spec: Some(spec),
        inputs: tensors.iter().map(encoded).collect(),
        output_filter: vec!["y".to_owned()],
    }
}

fn pieces(bytes: &[u8], step: usize) -> Data {
    let mut data = Data::new();
    bytes.chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
    data
}

#[test]
fn a_request_is_read_however_it_is_cut() {
    let a = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).unwrap();
    let b = Tensor::from_strings(vec![1], &[b"text"]).unwrap();
    let bytes = request(&[("a", &a), ("b", &b)]).encode_to_vec();
    for step in 1..bytes.len() {
        let read = decode(pieces(&bytes, step)).unwrap();
        assert_eq!(read.spec.as_ref().unwrap().name, "m");
        assert_eq!(read.filter, BTreeSet::from(["y".to_owned()]));
        let tensors = read.tensors(LIMIT).unwrap();
        assert_eq!(tensors, [("a".to_owned(), a.clone()), ("b".to_owned(), b.clone())]);
    }
}

#[test]
fn of_one_name_the_last_input_counts_and_an_output_is_named_once() {
    let tensor = |value| Tensor::from_f32(vec![1], &[value]).unwrap();
    let (one, two) = (tensor(1.0), tensor(2.0));
    let twice = [request(&[("a", &one)]).encode_to_vec(), request(&[("a", &two)]).encode_to_vec()];
    let error = decode(pieces(&twice.concat(), 9)).unwrap_err().to_string();
    assert_eq!(error, "duplicate output tensor alias: y");
    let other = PredictRequest { output_filter: Vec::new(), ..request(&[("a", &two)]) };
    let merged = decode(pieces(&[twice[0].clone(), other.encode_to_vec()].concat(), 9)).unwrap();
    assert_eq!(merged.tensors(LIMIT).unwrap(), [("a".to_owned(), two)]);
}

#[test]
fn tensors_share_one_limit() {
    let message = |count: usize| {
        let shape = encode_claim(1000);
        let inputs = (0..count).map(|i| (format!("x{i}"), shape.clone())).collect();
        PredictRequest { inputs, ..PredictRequest::default() }.encode_to_vec()
    };
    assert_eq!(decode(pieces(&message(2), 99)).unwrap().tensors(LIMIT).unwrap().len(), 2);
    let error = decode(pieces(&message(3), 99)).unwrap().tensors(LIMIT).unwrap_err().to_string();
    assert!(error.starts_with("input `x2`: FP32 [1000] takes more than the 2000 bytes"), "{error}");
}

/// A few bytes that stand for `elements` floats.
fn encode_claim(elements: i64) -> TensorProto {
    let mut claim = tensor_proto::encode(&Tensor::from_f32(vec![1], &[1.0]).unwrap());
    if let Some(shape) = &mut claim.tensor_shape {
        shape.dim[0].size = elements;
    }
    claim
}

#[test]
fn too_many_names_are_refused() {
    let inputs = (0..5000).map(|i| (format!("x{i}"), TensorProto::default())).collect();
    let many = PredictRequest { inputs, ..PredictRequest::default() }.encode_to_vec();
    assert!(decode(pieces(&many, 999)).unwrap_err().to_string().contains("4096 inputs"));
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        at in 0usize..200,
        step in 1usize..50,
    ) {
        let a = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).unwrap();
        let mut message = request(&[("a", &a)]).encode_to_vec();
        for bytes in [&bytes[..], &bytes[..bytes.len() / 20]] {
            let at = at.min(message.len());
            let end = (at + bytes.len()).min(message.len());
            message.splice(at..end, bytes.iter().copied());
            if let Ok(read) = decode(pieces(&message, step)) {
                let _ = read.tensors(LIMIT);
            }
        }
    }
}
