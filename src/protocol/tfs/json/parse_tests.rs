use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Form, PredictRequest, encode_predict};
use super::*;
use crate::engine::Dim;
use crate::input::InputValue;
use crate::protocol::json::arbitrary::tensors;
use crate::tensor::{DType, Tensor};

fn spec(name: &str, dtype: DType) -> TensorSpec {
    TensorSpec { name: name.into(), dtype, shape: vec![Dim::Dynamic("batch".into())] }
}

fn tensor(request: &PredictRequest, at: usize) -> &Tensor {
    match &request.inputs[at].1 {
        InputValue::Tensor(tensor) => tensor,
        InputValue::Images(images) => panic!("{} images", images.len()),
    }
}

#[track_caller]
fn check(dtype: DType, body: &str, shape: &[usize], values: &[f32]) {
    let request = parse_predict(body.as_bytes(), &[spec("x", dtype)], None).unwrap();
    let tensor = tensor(&request, 0);
    assert_eq!((tensor.dtype(), tensor.shape()), (dtype, shape), "{body}");
    assert_eq!(tensor.to_f32().unwrap(), values, "{body}");
}

#[track_caller]
fn refuse(inputs: &[TensorSpec], body: &str, expected: &str) {
    let error = parse_predict(body.as_bytes(), inputs, Some("img")).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{body}: {error}");
    assert!(error.contains(" at line 1 column "), "{body}: {error}");
}

#[test]
fn rows_and_columns_give_the_shape_the_json_has() {
    check(DType::F32, r#"{"instances": [1, 2.5, -3e0]}"#, &[3], &[1., 2.5, -3.]);
    check(
        DType::F32,
        r#"{"instances": [[1, 2], [3, 4], [5, 6]]}"#,
        &[3, 2],
        &[1., 2., 3., 4., 5., 6.],
    );
    check(
        DType::F32,
        r#"{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}"#,
        &[2, 2],
        &[1., 2., 3., 4.],
    );
    check(DType::I32, r#"{"inputs": [[1], [-2]]}"#, &[2, 1], &[1., -2.]);
    check(DType::I32, r#"{"inputs": {"x": 7}}"#, &[], &[7.]);
    check(DType::F32, r#"{"inputs": [[], []]}"#, &[2, 0], &[]);
    check(DType::F32, r#"{"instances": [[[]], [[]]]}"#, &[2, 1, 0], &[]);
    check(DType::Bool, r#"{"instances": [true, false]}"#, &[2], &[1., 0.]);
    check(DType::BF16, r#"{"instances": [1.5]}"#, &[1], &[1.5]);
    check(DType::F16, "{\"instances\"\n:\t[ 0.5 , -2 ] }", &[2], &[0.5, -2.]);
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_passed_over() {
    let body = br#"{"zzz": {"a": [1, {}]}, "instances": [1], "more": null, "signature_name": "s"}"#;
    let request = parse_predict(body, &[spec("x", DType::F32)], None).unwrap();
    assert_eq!((request.signature_name.as_deref(), request.form), (Some("s"), Form::Row));
}

#[test]
fn what_is_not_finite_has_words() {
    let body = br#"{"instances": [NaN, Infinity, -Infinity]}"#;
    let request = parse_predict(body, &[spec("x", DType::F32)], None).unwrap();
    let values = tensor(&request, 0).to_f32().unwrap();
    assert!(values[0].is_nan());
    assert_eq!(values[1..], [f32::INFINITY, f32::NEG_INFINITY]);
}

#[test]
fn integers_keep_all_their_bits() {
    let body = format!(r#"{{"instances": [{}, 0]}}"#, u64::MAX);
    let request = parse_predict(body.as_bytes(), &[spec("x", DType::U64)], None).unwrap();
    assert_eq!(tensor(&request, 0).bytes()[..8], [255; 8]);
    let body = format!(r#"{{"instances": [{}]}}"#, i64::MIN);
    let request = parse_predict(body.as_bytes(), &[spec("x", DType::I64)], None).unwrap();
    assert_eq!(tensor(&request, 0).bytes()[..], i64::MIN.to_le_bytes());
}

#[test]
fn named_rows_and_columns_may_name_the_inputs_in_any_order() {
    let inputs = [spec("a", DType::F32), spec("b", DType::I8)];
    let rows = br#"{"instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [5, 6]}]}"#;
    let columns = br#"{"inputs": {"b": [3, 4], "a": [[1, 2], [5, 6]]}}"#;
    let rows = parse_predict(rows, &inputs, None).unwrap();
    let columns = parse_predict(columns, &inputs, None).unwrap();
    assert_eq!(rows.inputs, columns.inputs);
    assert_eq!((rows.form, columns.form), (Form::Row, Form::Columnar));
    assert_eq!(tensor(&rows, 0).shape(), [2, 2]);
    assert_eq!(tensor(&rows, 1).bytes()[..], [3, 4]);
}

#[test]
fn base64_is_an_image_or_a_byte_string() {
    let images = |body: &str| {
        let inputs = [spec("img", DType::F32)];
        parse_predict(body.as_bytes(), &inputs, Some("img")).unwrap().inputs.remove(0).1
    };
    let two = InputValue::Images(vec![Bytes::from_static(b"hi"), Bytes::from_static(b"\xff?")]);
    assert_eq!(images(r#"{"instances": [{"b64": "aGk="}, {"b64": "/z8="}]}"#), two);
    assert_eq!(images(r#"{"instances": [{"b64": "aGk"}, {"b64": "\/z\n8="}]}"#), two);
    assert_eq!(
        images(r#"{"instances": [{"img": {"b64": "aGk="}}, {"img": {"b64": "/z8="}}]}"#),
        two
    );
    assert_eq!(images(r#"{"inputs": {"img": [{"b64": "aGk="}, {"b64": "/z8="}]}}"#), two);
    let one = InputValue::Images(vec![Bytes::from_static(b"hi")]);
    assert_eq!(images(r#"{"inputs": {"b64": "aGk="}}"#), one);
    assert_eq!(images(r#"{"instances": [[{"b64": "aGk="}]]}"#), one);
    assert!(matches!(images(r#"{"instances": [[1.0]]}"#), InputValue::Tensor(_)));

    let body = r#"{"instances": ["h\u00e9", {"b64": "/w=="}, ""]}"#;
    let request = parse_predict(body.as_bytes(), &[spec("s", DType::Bytes)], None).unwrap();
    assert_eq!(tensor(&request, 0).strings(), ["hé".as_bytes(), b"\xff", b""]);
}

#[test]
fn wrong_documents_are_told_what_they_lack() {
    let x = &[spec("x", DType::F32)];
    let ab = &[spec("a", DType::F32), spec("b", DType::F32)];
    refuse(x, "{}", "Missing 'inputs' or 'instances' key");
    refuse(x, r#"{"inputs": 1, "instances": [1]}"#, "Give one of 'inputs' and 'instances', once");
    refuse(x, r#"{"instances": []}"#, "'instances' value is an empty array");
    refuse(x, r#"{"instances": 5}"#, "Expecting 'instances' value to be an list/array");
    refuse(x, r#"{"instances": [1"#, "JSON Parse error: ");
    refuse(x, r#"{"instances": [1]} x"#, "JSON Parse error: ");
    refuse(x, "[1]", "JSON Parse error: ");
    refuse(x, r#"{"instances": [{"y": 1}]}"#, "no input `y`; the inputs are `x`");
    refuse(x, r#"{"instances": [{"x": 1}, 2]}"#, "instances[1]: rows are all objects");
    refuse(ab, r#"{"instances": [1]}"#, "instances: name the inputs, which are `a`, `b`");
    refuse(
        ab,
        r#"{"instances": [{"a": 1, "b": 2}, {"a": 1}]}"#,
        "instances[1]: input `b` is missing",
    );
    refuse(ab, r#"{"instances": [{"a": 1, "a": 2}]}"#, "instances[0]: `a` is there twice");
    refuse(ab, r#"{"inputs": {"a": 1}}"#, "inputs: input `b` is missing");
    refuse(ab, r#"{"inputs": {"a": [], "a": 2}}"#, "inputs: `a` is there twice");
}

#[test]
fn wrong_values_are_told_where_they_stand() {
    let x = &[spec("x", DType::F32)];
    refuse(x, r#"{"instances": [[1, 2], [3]]}"#, "instances[1]: expected 2 elements, got 1");
    refuse(x, r#"{"instances": [[[1, 2], [3]]]}"#, "instances[0][1]: expected 2 elements, got 1");
    refuse(x, r#"{"inputs": {"x": [[1], [3, 4]]}}"#, "inputs.x[1]: expected 1 elements, got 2");
    refuse(
        x,
        r#"{"instances": [{"x": [1, "a"]}]}"#,
        "instances[0].x[1]: expected FP32, got a string",
    );
    refuse(
        x,
        r#"{"instances": [[1], 2]}"#,
        "instances[1]: an element stands where others have an array",
    );
    refuse(x, r#"{"instances": [1, [2]]}"#, "instances[1]: expected FP32, got an array");
    refuse(x, r#"{"instances": [null]}"#, "instances[0]: expected FP32, got null");
    refuse(x, r#"{"instances": [true]}"#, "instances[0]: expected FP32, got a boolean");
    refuse(x, r#"{"instances": [1e39]}"#, "instances[0]: 1e39 is out of the range of FP32");
    refuse(x, r#"{"instances": [{"b64": "aGk="}]}"#, "instances[0]: expected FP32, got base64");
    let deep = format!(r#"{{"instances": {}1{}}}"#, "[".repeat(17), "]".repeat(17));
    refuse(x, &deep, "instances[0][0]");
    let i = &[spec("i", DType::I32)];
    refuse(i, r#"{"instances": [1.0]}"#, "instances[0]: expected INT32, got 1.0");
    refuse(i, r#"{"instances": [NaN]}"#, "instances[0]: expected INT32, got NaN");
    refuse(
        i,
        r#"{"instances": [3000000000]}"#,
        "instances[0]: 3000000000 is out of the range of INT32",
    );
    let u = &[spec("u", DType::U8)];
    refuse(u, r#"{"instances": [7, 256]}"#, "instances[1]: 256 is out of the range of UINT8");
    refuse(u, r#"{"instances": [-1]}"#, "instances[0]: -1 is out of the range of UINT8");
    let bool = &[spec("b", DType::Bool)];
    refuse(bool, r#"{"instances": [1]}"#, "instances[0]: expected BOOL, got a number");
    let img = &[spec("img", DType::F32)];
    let expected = r#"instances[1]: expected FP32 or {"b64": image}, got "#;
    refuse(
        img,
        r#"{"instances": [{"b64": "aGk="}, 1]}"#,
        &format!("{expected}an element among images"),
    );
    refuse(
        img,
        r#"{"instances": [1, {"b64": "aGk="}]}"#,
        &format!("{expected}an image among elements"),
    );
    refuse(
        img,
        r#"{"inputs": [[{"b64": ""}, {"b64": ""}]]}"#,
        "inputs: expected one image a row, got 2 in 1",
    );
    refuse(
        img,
        r#"{"inputs": {"b64": "!"}}"#,
        r#"inputs: expected FP32 or {"b64": image}, got text that"#,
    );
    refuse(
        img,
        r#"{"inputs": {"b64": "", "a": 1}}"#,
        r#"inputs: expected FP32 or {"b64": image}, got an object"#,
    );
}

#[test]
fn a_context_gives_what_examples_leave_out() {
    let inputs = [spec("a", DType::F32), spec("b", DType::F32)];
    let before = r#"{"context": {"b": 9}, "examples": [{"a": [1]}, {"a": [2], "b": 3}]}"#;
    let after = r#"{"examples": [{"a": [1]}, {"a": [2], "b": 3}], "context": {"b": 9}}"#;
    for body in [before, after] {
        let request = parse_examples(body.as_bytes(), &inputs, None).unwrap();
        assert_eq!(request.form, Form::Row);
        assert_eq!(tensor(&request, 0).shape(), [2, 1]);
        assert_eq!(tensor(&request, 1).to_f32().unwrap(), [9., 3.]);
    }
    let error =
        |body: &str| parse_examples(body.as_bytes(), &inputs, None).unwrap_err().to_string();
    assert!(error(r#"{"instances": [1]}"#).starts_with("Missing 'examples' key"));
    assert!(error(r#"{"examples": [{"a": 1}]}"#).starts_with("examples[0]: input `b` is missing"));
    assert!(error(r#"{"examples": [1]}"#).starts_with("examples[0]: expected an object of named"));
}

#[test]
fn an_example_may_hold_an_image() {
    let body = br#"{"examples": [{"img": {"b64": "aGk="}}]}"#;
    let request = parse_examples(body, &[spec("img", DType::F32)], Some("img")).unwrap();
    assert_eq!(request.inputs[0].1, InputValue::Images(vec![Bytes::from_static(b"hi")]));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(tensor in tensors(), row in any::<bool>()) {
        let (form, from, to) = match row {
            true => (Form::Row, "\"predictions\"", "\"instances\""),
            false => (Form::Columnar, "\"outputs\"", "\"inputs\""),
        };
        let outputs = [("x".to_owned(), tensor.clone())];
        let text = String::from_utf8(encode_predict(form, &outputs).unwrap()).unwrap();
        let body = text.replacen(from, to, 1);
        let request = parse_predict(body.as_bytes(), &[spec("x", tensor.dtype())], None).unwrap();
        prop_assert_eq!(&request.inputs, &[("x".to_owned(), InputValue::Tensor(tensor))]);
    }

    #[test]
    fn ragged_rows_are_refused(lens in proptest::collection::vec(0usize..5, 2..6)) {
        let row = |n: &usize| format!("[{}]", vec!["1"; *n].join(","));
        let rows = lens.iter().map(row).collect::<Vec<_>>().join(",");
        let body = format!("{{\"instances\": [{rows}]}}");
        let parsed = parse_predict(body.as_bytes(), &[spec("x", DType::U8)], None);
        prop_assert_eq!(parsed.is_ok(), lens.iter().all(|n| *n == lens[0]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40),
        dtype in proptest::sample::select(&DType::ALL[..]),
    ) {
        let starts = [r#"{"instances":["#, r#"{"inputs":"#, r#"{"context":{"img":1},"examples":["#];
        let soup = pieces.concat().into_bytes();
        let inputs = [spec("img", dtype), spec("x", dtype)];
        for tail in [&bytes, &soup] {
            for start in starts.iter().map(|s| s.as_bytes()).chain([&b""[..]]) {
                let body = [start, tail].concat();
                for inputs in [&inputs[..], &inputs[..1], &inputs[1..], &[]] {
                    let _ = parse_predict(&body, inputs, Some("img"));
                    let _ = parse_examples(&body, inputs, Some("img"));
                }
            }
        }
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"x\"",
    "\"img\"",
    "\"b64\"",
    "\"aGk=\"",
    "\"\\u00e9\"",
    "1",
    "-",
    "0",
    "1.5",
    "1e400",
    "-0",
    "NaN",
    "-Infinity",
    "Infinity",
    "true",
    "null",
    " ",
    "\"examples\":",
    "\"context\":{",
    "18446744073709551615",
    "99999999999999999999",
    "\\",
    "\"",
    "\n",
    "\"x\":",
    "{\"b64\":\"aGk=\"}",
];
