use super::*;
use crate::engine::Dim;

fn signature() -> Signature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        dtype: DType::F32,
        shape: vec![Dim::Dynamic("batch".into())],
    };
    Signature::new(vec![spec("x"), spec("w")], vec![spec("y"), spec("z")])
}

fn read(body: &str) -> Result<Head, String> {
    parse(body.as_bytes(), &signature()).map_err(|e| e.to_string())
}

/// The bytes of the only input, whose members `input` gives beside its name.
fn data(input: &str) -> Result<Vec<u8>, String> {
    let mut head = read(&format!(r#"{{"inputs": [{{"name": "x", {input}}}]}}"#))?;
    match head.inputs.remove(0).source {
        Source::Json(data) => Ok(data),
        Source::Binary(size) => panic!("{size} bytes behind the JSON"),
    }
}

#[track_caller]
fn refuse(body: &str, expected: &str) {
    let error = read(body).unwrap_err();
    assert!(error.starts_with(expected), "{body}: {error}");
    assert!(error.contains(" at line 1 column "), "{body}: {error}");
}

#[track_caller]
fn refuse_input(input: &str, expected: &str) {
    refuse(&format!(r#"{{"inputs": [{{"name": "x", {input}}}]}}"#), expected);
}

#[test]
fn reads_all_of_a_request() {
    let head = read(
        r#"{"outputs": [{"name": "z", "parameters": {"classification": 3, "binary_data": true}},
        {"parameters": {"binary_data": false}, "name": "y"}], "more": [{}], "id": "a\u00e9",
        "parameters": {"timeout": 1500, "priority": 1, "binary_data_output": true, "own": {}},
        "inputs": [{"name": "x", "shape": [2, 1], "datatype": "INT8", "data": [[1], [-1]]},
        {"name": "w", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]}"#,
    )
    .unwrap();
    assert_eq!(head.id, "aé");
    let timeout = Some(Duration::from_micros(1500));
    assert_eq!(head.parameters, Parameters { priority: 1, timeout, binary_data_output: true });
    let (z, y) = (&head.outputs[0], &head.outputs[1]);
    assert_eq!((z.name.as_str(), z.classification, z.binary), ("z", 3, Some(true)));
    assert_eq!((y.name.as_str(), y.classification, y.binary), ("y", 0, Some(false)));
    let (x, w) = (&head.inputs[0], &head.inputs[1]);
    assert_eq!((x.name.as_str(), x.dtype, &x.shape[..]), ("x", DType::I8, &[2, 1][..]));
    assert!(matches!(&x.source, Source::Json(data) if data[..] == [1, 255]));
    assert!(matches!(w.source, Source::Binary(9)));
    assert!(!head.shared_memory);
}

#[test]
fn what_is_null_is_left_out() {
    let head = read(
        r#"{"id": null, "parameters": {"timeout": null}, "outputs": null, "inputs": [{"name": "x",
        "shape": [1], "datatype": "INT8", "parameters": null, "data": [1]}]}"#,
    )
    .unwrap();
    assert_eq!((head.id.as_str(), head.parameters), ("", Parameters::default()));
    assert!(head.outputs.is_empty());
    assert_eq!(
        read(r#"{"parameters": {"timeout": 0}, "inputs": []}"#).unwrap().parameters.timeout,
        None
    );
}

#[test]
fn data_may_come_before_what_it_is() {
    let expected = [1.0f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat();
    for input in [
        r#""data": [1, 2.5], "shape": [2], "datatype": "FP32""#,
        r#""shape": [2], "data": [1, 2.5], "datatype": "FP32""#,
        r#""shape": [2], "datatype": "FP32", "data": [1, 2.5]"#,
    ] {
        assert_eq!(data(input).unwrap(), expected, "{input}");
    }
    let late = r#""data": [1, true], "shape": [2], "datatype": "FP32""#;
    refuse_input(late, "input `x`: data[1]: expected FP32, got a boolean at line 1 column 39");
}

#[test]
fn data_is_nested_as_the_shape_or_flat() {
    let of = |data: &str| format!(r#""shape": [1, 2, 2], "datatype": "UINT8", "data": {data}"#);
    assert_eq!(data(&of("[1, 2, 3, 4]")).unwrap(), [1, 2, 3, 4]);
    assert_eq!(data(&of("[[[1, 2], [3, 4]]]")).unwrap(), [1, 2, 3, 4]);
    assert_eq!(data(r#""shape": [], "datatype": "UINT8", "data": [7]"#).unwrap(), [7]);
    let all = "input `x`: shape [1, 2, 2] takes 4 elements, data has ";
    refuse_input(&of("[1, 2, 3]"), &format!("{all}3"));
    refuse_input(&of("[1, 2, 3, 4, 5]"), &format!("{all}5"));
    refuse_input(&of("[]"), &format!("{all}0"));
    refuse_input(&of("7"), "input `x`: data is an array, got a number");
    refuse_input(&of("[[[1, 2], [3, 4]], []]"), "input `x`: data[1]: expected 2 elements, got 0");
    refuse_input(&of("[[1, 2], [3, 4]]"), "input `x`: data[0][0]: expected an array, got a number");
    refuse_input(&of("[[1, 2, 3, 4]]"), "input `x`: data[0][0]: expected an array, got a number");
    refuse_input(&of("[[[1, 2], [3]]]"), "input `x`: data[0][1]: expected 2 elements, got 1");
    refuse_input(
        &of("[[[1, 2], [3, [4]]]]"),
        "input `x`: data[0][1][1]: expected UINT8, got an array",
    );
    refuse_input(&of("[[[1, 2]], 3]"), "input `x`: data[0]: expected 2 elements, got 1");
    refuse_input(&of("[1, 2, [3, 4]]"), "input `x`: data[2]: expected UINT8, got an array");
    refuse_input(&of("[1, 2, 3, 256]"), "input `x`: data[3]: 256 is out of the range of UINT8");
}

#[test]
fn elements_are_of_the_datatype() {
    let one = |dtype: &str, value: &str| {
        data(&format!(r#""shape": [1], "datatype": "{dtype}", "data": [{value}]"#))
    };
    assert_eq!(one("UINT64", "18446744073709551615").unwrap(), u64::MAX.to_le_bytes());
    assert_eq!(one("INT64", "-9223372036854775808").unwrap(), i64::MIN.to_le_bytes());
    assert_eq!(one("FP64", "0.1").unwrap(), 0.1f64.to_le_bytes());
    assert_eq!(one("FP16", "-1.5").unwrap(), [0x00, 0xbe]);
    assert_eq!(one("BF16", "1.5").unwrap(), [0xc0, 0x3f]);
    assert_eq!(one("FP32", "-Infinity").unwrap(), f32::NEG_INFINITY.to_le_bytes());
    assert_eq!(one("BOOL", "true").unwrap(), [1]);
    assert_eq!(one("BYTES", r#""a\n""#).unwrap(), b"\x02\0\0\0a\n");
    for (dtype, value) in [
        ("BOOL", "1"),
        ("INT8", "1.0"),
        ("INT8", "128"),
        ("UINT8", "-1"),
        ("FP32", "\"1\""),
        ("FP32", "1e39"),
        ("BYTES", "1"),
        ("BYTES", r#"{"b64": ""}"#),
        ("FP32", "null"),
    ] {
        let error = one(dtype, value).unwrap_err();
        assert!(error.starts_with("input `x`: data[0]: "), "{dtype} {value}: {error}");
    }
    assert!(one("FLOAT", "1").unwrap_err().starts_with("inputs[0]: datatype `FLOAT` is not known"));
}

#[test]
fn shapes_are_sound() {
    let of = |shape: &str| format!(r#""datatype": "UINT8", "data": [1], "shape": {shape}"#);
    refuse_input(&of("[0]"), "inputs[0].shape[0]: 0; a tensor has at least 1 of each");
    refuse_input(&of("[1, -1]"), "inputs[0].shape[1]: expected a whole number up to");
    refuse_input(&of("[1.0]"), "inputs[0].shape[0]: expected a whole number up to");
    refuse_input(&of("[99999999999999999999]"), "inputs[0].shape[0]: expected a whole number");
    refuse_input(&of("[4294967296, 4294967296]"), "input `x`: shape [4294967296, 4294967296] has");
    refuse_input(&of("[9223372036854775807]"), "input `x`: shape [9223372036854775807] takes");
    refuse_input(&of("1"), "inputs[0].shape: expected an array, got a number");
    refuse_input(&of(&format!("[{}1]", "1,".repeat(16))), "inputs[0].shape: more than 16");
}

#[test]
fn wrong_documents_are_told_what_they_lack() {
    refuse("", "JSON Parse error: ");
    refuse("[1]", "request: expected an object, got an array");
    refuse("{}", "the request has no `inputs`");
    refuse(r#"{"inputs": [1"#, "inputs[0]: expected an object, got a number");
    refuse(r#"{"inputs": []} x"#, "JSON Parse error: ");
    refuse(r#"{"inputs": {}}"#, "inputs: expected an array, got an object");
    refuse(r#"{"id": 7, "inputs": []}"#, "request.id: expected a string, got a number");
    refuse(r#"{"id": "", "id": ""}"#, "request: `id` is there twice");
    refuse(r#"{"inputs": [], "inputs": []}"#, "request: `inputs` is there twice");
    refuse(r#"{"inputs": [{}]}"#, "inputs[0]: `name` is missing");
    refuse(r#"{"inputs": [{"name": "x", "shape": [1]}]}"#, "inputs[0]: `datatype` is missing");
    refuse_input(r#""datatype": "BOOL""#, "inputs[0]: `shape` is missing");
    let bool = r#""datatype": "BOOL", "shape": [1]"#;
    refuse_input(&format!(r#"{bool}, "shape": [1]"#), "inputs[0]: `shape` is there twice");
    let neither = "input `x` has neither `data` nor a parameter `binary_data_size`";
    refuse_input(bool, neither);
    refuse_input(&format!(r#"{bool}, "parameters": {{}}"#), neither);
    refuse_input(
        &format!(r#"{bool}, "parameters": {{"binary_data_size": 1}}, "data": [true]"#),
        "input `x` has both",
    );
    refuse_input(
        &format!(r#"{bool}, "parameters": {{"binary_data_size": "1"}}"#),
        "inputs[0].binary_data_size: expected a whole number, got a string",
    );
    refuse_input(
        &format!(r#"{bool}, "data": [true], "data": [true]"#),
        "inputs[0]: `data` is there",
    );
    let twice = r#""datatype": "BOOL", "data": [true], "data": [true], "shape": [1]"#;
    refuse_input(twice, "inputs[0]: `data` is there twice");
    let x = format!(r#"{{"name": "x", {bool}, "data": [true]}}"#);
    refuse(&format!(r#"{{"inputs": [{x}, {x}]}}"#), "input `x` is there twice");
    let q = x.replace('x', "q");
    refuse(&format!(r#"{{"inputs": [{q}]}}"#), "no input `q`; inputs: x, w");
    refuse(r#"{"outputs": [{"name": "q"}]}"#, "no output `q`; outputs: y, z");
    refuse(r#"{"outputs": [{"name": "y"}, {"name": "y"}]}"#, "output `y` is there twice");
    refuse(r#"{"outputs": [{}]}"#, "outputs[0]: `name` is missing");
    refuse(
        r#"{"outputs": [{"name": "y", "parameters": {"classification": -1}}]}"#,
        "outputs[0].classification: expected a whole number",
    );
    refuse(
        r#"{"parameters": {"binary_data_output": 1}}"#,
        "parameters.binary_data_output: expected a boolean, got a number",
    );
    refuse(r#"{"parameters": {"timeout": 1.5}}"#, "parameters.timeout: expected a whole number");
    refuse(&format!("{{\"more\": {}", "[".repeat(1 << 16)), "JSON Parse error: ");
}

#[test]
fn shared_memory_is_noticed_wherever_it_stands() {
    let region = r#""parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}"#;
    let x = r#""name": "x", "datatype": "BOOL", "shape": [1]"#;
    let input = format!(r#"{{"inputs": [{{{x}, {region}}}]}}"#);
    assert!(read(&input).unwrap().shared_memory);
    let output = format!(
        r#"{{"inputs": [{{{x}, "data": [true]}}], "outputs": [{{"name": "y", {region}}}]}}"#
    );
    assert!(read(&output).unwrap().shared_memory);
}
