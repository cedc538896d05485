use super::*;
use proptest::prelude::*;
use prost::Message as _;

use crate::protocol::pb::inference::model_infer_request::InferRequestedOutputTensor;

fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: "x".to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        contents,
        ..Default::default()
    }
}

fn request(inputs: Vec<InferInputTensor>, raw: &[&[u8]]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "m".to_owned(),
        inputs,
        raw_input_contents: raw.iter().map(|r| Bytes::copy_from_slice(r)).collect(),
        ..Default::default()
    }
}

/// The message as it comes off the wire in pieces of `step` bytes.
fn pieces(message: &ModelInferRequest, step: usize) -> Data {
    let mut data = Data::new();
    message.encode_to_vec().chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
    data
}

fn read(message: &ModelInferRequest) -> Result<InferMessage, InferError> {
    decode(pieces(message, 7))
}

#[track_caller]
fn refused(message: &ModelInferRequest, says: &str) {
    let error = read(message).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

fn fp32(values: &[f32]) -> Option<InferTensorContents> {
    Some(InferTensorContents { fp32_contents: values.to_vec(), ..Default::default() })
}

#[test]
fn a_raw_tensor_is_a_slice_of_the_message() {
    let raw: Vec<u8> = (0..32).collect();
    let message = request(vec![input("FP32", &[2, 4], None)], &[&raw]);
    let data = pieces(&message, usize::MAX);
    let whole = data.to_bytes();
    let read = decode(data).unwrap();
    let tensor = &read.call.inputs[0].1;
    assert_eq!((tensor.dtype(), tensor.shape()), (DType::F32, &[2, 4][..]));
    assert_eq!(tensor.bytes(), raw);
    let [piece] = tensor.data().pieces() else { panic!("{tensor:?}") };
    assert!(whole.as_ptr_range().contains(&piece.as_ptr()), "it was copied");
    assert!(!read.typed);
}

#[test]
fn typed_fields_and_raw_bytes_say_the_same() {
    let c = InferTensorContents::default;
    let cases: [(&str, InferTensorContents, &[u8]); 12] = [
        ("BOOL", InferTensorContents { bool_contents: vec![true, false], ..c() }, &[1, 0]),
        ("INT8", InferTensorContents { int_contents: vec![-128, 127], ..c() }, &[128, 127]),
        ("INT16", InferTensorContents { int_contents: vec![-2, 3], ..c() }, &[254, 255, 3, 0]),
        (
            "INT32",
            InferTensorContents { int_contents: vec![1, -1], ..c() },
            &[1, 0, 0, 0, 255, 255, 255, 255],
        ),
        (
            "INT64",
            InferTensorContents { int64_contents: vec![1, i64::MIN], ..c() },
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128],
        ),
        ("UINT8", InferTensorContents { uint_contents: vec![0, 255], ..c() }, &[0, 255]),
        ("UINT16", InferTensorContents { uint_contents: vec![1, 65535], ..c() }, &[1, 0, 255, 255]),
        (
            "UINT32",
            InferTensorContents { uint_contents: vec![1, u32::MAX], ..c() },
            &[1, 0, 0, 0, 255, 255, 255, 255],
        ),
        (
            "UINT64",
            InferTensorContents { uint64_contents: vec![1, u64::MAX], ..c() },
            &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
        ),
        (
            "FP32",
            InferTensorContents { fp32_contents: vec![1.0, -0.0], ..c() },
            &[0, 0, 128, 63, 0, 0, 0, 128],
        ),
        (
            "FP64",
            InferTensorContents { fp64_contents: vec![1.0, 2.0], ..c() },
            &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 64],
        ),
        (
            "BYTES",
            InferTensorContents {
                bytes_contents: vec![Bytes::from_static(b"ab"), Bytes::new()],
                ..c()
            },
            b"\x02\0\0\0ab\0\0\0\0",
        ),
    ];
    for (datatype, contents, raw) in cases {
        let typed = read(&request(vec![input(datatype, &[2], Some(contents))], &[])).unwrap();
        let raw = read(&request(vec![input(datatype, &[2], None)], &[raw])).unwrap();
        assert_eq!(typed.call.inputs, raw.call.inputs, "{datatype}");
        assert!(typed.typed && !raw.typed);
    }
    for datatype in ["FP16", "BF16"] {
        let raw = read(&request(vec![input(datatype, &[1], None)], &[&[0, 60]])).unwrap();
        assert_eq!(raw.call.inputs[0].1.dtype().name(), datatype);
        refused(&request(vec![input(datatype, &[1], fp32(&[1.0]))], &[]), "has no typed field");
    }
}

#[test]
fn lies_are_told_as_such() {
    let one = |datatype: &str, shape: &[i64], raw: &[u8]| {
        request(vec![input(datatype, shape, None)], &[raw])
    };
    refused(&one("FP31", &[1], &[0; 4]), "datatype `FP31` is not known");
    refused(&one("FP32", &[-1], &[0; 4]), "negative dimension");
    refused(&one("FP32", &[i64::MAX, i64::MAX], &[0; 4]), "more elements than memory has bytes");
    refused(&one("FP32", &[i64::MAX / 2, 2], &[0; 4]), "more elements than memory has bytes");
    refused(&one("FP32", &[2], &[0; 4]), "takes 8 bytes, got 4");
    refused(&one("BYTES", &[1], &[9, 0, 0, 0, 1]), "element 0 does not fit");
    refused(&request(vec![input("FP32", &[1], None)], &[]), "neither contents nor raw");
    refused(&request(vec![input("FP32", &[1], fp32(&[1.0]))], &[&[0; 4]]), "both contents and raw");
    refused(&request(vec![input("FP32", &[1], None); 2], &[&[0; 4]]), "2 inputs, but 1 raw");
    refused(&request(vec![input("FP32", &[2], fp32(&[1.0]))], &[]), "takes 2 values of fp32");
    refused(&request(vec![input("INT32", &[1], fp32(&[1.0]))], &[]), "goes into int_contents");
    let narrow = InferTensorContents { int_contents: vec![128], ..Default::default() };
    refused(&request(vec![input("INT8", &[1], Some(narrow))], &[]), "128 is out of the range");
    assert!(decode(Data::from(Bytes::from_static(b"\x3a\xff\x01x"))).is_err());
    assert!(decode(Data::from(Bytes::from_static(b"\xff\xff\xff"))).is_err());
}

#[test]
fn parameters_are_read_and_shared_memory_is_refused() {
    let choice = |choice| InferParameter { parameter_choice: Some(choice) };
    let mut message = request(vec![input("FP32", &[1], fp32(&[1.0]))], &[]);
    message.parameters = HashMap::from([
        ("priority".to_owned(), choice(ParameterChoice::Uint64Param(1))),
        ("timeout".to_owned(), choice(ParameterChoice::Int64Param(1500))),
        ("anything".to_owned(), choice(ParameterChoice::StringParam("else".to_owned()))),
    ]);
    message.outputs = vec![InferRequestedOutputTensor {
        name: "y".to_owned(),
        parameters: HashMap::from([(
            "classification".to_owned(),
            choice(ParameterChoice::Int64Param(3)),
        )]),
    }];
    let call = read(&message).unwrap().call;
    assert_eq!(call.parameters.priority, 1);
    assert_eq!(call.parameters.timeout, Some(Duration::from_micros(1500)));
    assert_eq!((call.outputs[0].name.as_str(), call.outputs[0].classification), ("y", 3));
    message.parameters.insert("priority".to_owned(), choice(ParameterChoice::Int64Param(-1)));
    refused(&message, "`priority` is a whole number");
    let region = choice(ParameterChoice::StringParam("region".to_owned()));
    message.inputs[0].parameters.insert("shared_memory_region".to_owned(), region);
    assert!(matches!(read(&message), Err(InferError::Unimplemented(_))));
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
        let mut data = Data::new();
        bytes.chunks(step).for_each(|c| data.push(Bytes::copy_from_slice(c)));
        let _ = decode(data);
    }

    #[test]
    fn pieces_are_read_as_the_whole(
        raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..4),
        step in 1usize..80,
    ) {
        let inputs = raw.iter().map(|r| input("UINT8", &[r.len() as i64], None)).collect();
        let raw: Vec<&[u8]> = raw.iter().map(|r| &r[..]).collect();
        let message = request(inputs, &raw);
        let read = decode(pieces(&message, step)).unwrap();
        for ((_, tensor), raw) in read.call.inputs.iter().zip(raw) {
            prop_assert_eq!(tensor.bytes(), raw);
        }
    }
}

/// From the socket's frames to the batch nothing is copied: what [`crate::engine::BatchInput`] then
/// copies into the engine's memory is the only copy.
#[tokio::test]
async fn a_tensor_that_came_in_frames_stays_in_them() {
    use crate::protocol::Bodies;
    use crate::protocol::grpc::frame::Messages;

    let raw: Vec<u8> = (0..=255).cycle().take(3 * 224 * 224 * 4).collect();
    let message = request(vec![input("FP32", &[1, 3, 224, 224], None)], &[&raw]);
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    framed.extend_from_slice(&message.encode_to_vec());
    // HTTP/2 frames as they are by default.
    let frames: Vec<Bytes> = framed.chunks(16 << 10).map(Bytes::copy_from_slice).collect();
    let came = frames.clone().into_iter().map(Ok::<_, std::io::Error>);
    let body = axum::body::Body::from_stream(futures_util::stream::iter(came));
    let bodies = Bodies::new(64 << 20, 64 << 20);
    let read = Messages::new(body, None).only(&bodies, Duration::from_secs(5)).await.unwrap();
    let decoded = decode(read.packed.unpack(bodies.limit()).unwrap()).unwrap();
    let (_, tensor) = &decoded.call.inputs[0];
    assert_eq!(tensor.data().len(), raw.len());
    assert_eq!(tensor.data().pieces().len(), frames.len());
    for piece in tensor.data().pieces() {
        let within = |frame: &Bytes| frame.as_ptr_range().contains(&piece.as_ptr());
        assert!(frames.iter().any(within), "a piece was copied");
    }
    assert_eq!(tensor.bytes(), raw);
}
