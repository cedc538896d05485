//! What goes over the wire beside the plain case: encodings, headers, limits, odd numbers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{MODELS, PREDICT, Server, agent, onnx, photo, put, reference};

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "affine", 1, &onnx::affine(2, 3, &[1.0, 0.0, 2.0, 0.0, 1.0, 4.0]));
    let toml = "[output]\nkind = 'classification'\nlabels = 'labels.txt'\ntop_k = 2";
    std::fs::write(dir.path().join("affine/model.toml"), toml).unwrap();
    std::fs::write(dir.path().join("affine/labels.txt"), "a\nb\nc\n").unwrap();
    put(dir.path(), "sum", 1, &onnx::affine(2, 1, &[1.0, 1.0]));
    put(dir.path(), "same", 1, &onnx::relu_of_one(2));
    dir
}

#[test]
fn bodies_may_be_compressed_both_ways() {
    let server = Server::start(MODELS);
    let plain = photo("chelsea.jpg");
    let expected = reference("chelsea.jpg")["predictions"].clone();
    let gzip = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    for (name, body) in [("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        let request = agent().post(server.url(&format!("{PREDICT}?output=tensors")));
        let request = request.header("content-type", "image/jpeg").header("content-encoding", name);
        let mut response = request.header("accept-encoding", name).send(&body[..]).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-encoding"], name);
        let coded = response.body_mut().read_to_vec().unwrap();
        let text = match name {
            "gzip" => {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut text).unwrap();
                text
            }
            _ => zstd::decode_all(&coded[..]).unwrap(),
        };
        let answer: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(answer["predictions"][0].as_array().unwrap().len(), 1000);
        let request = agent().post(server.url(PREDICT)).header("content-encoding", name);
        let mut response = request.send(&body[..]).unwrap();
        let answer: Value = response.body_mut().read_json().unwrap();
        assert_eq!(answer["predictions"][0], expected);
    }
    // A small body that unpacks into a large one is stopped at the limit, not in memory.
    let bomb = gzip(&vec![0; 70 << 20]);
    let request = agent().post(server.url(PREDICT)).header("content-encoding", "gzip");
    assert_eq!(request.send(&bomb[..]).unwrap().status(), 413);
    let request = agent().post(server.url(PREDICT)).header("content-encoding", "gzip");
    assert_eq!(request.send(&plain[..]).unwrap().status(), 400);
}

#[test]
fn classify_regress_and_metadata_answer_as_tensorflow_serving_does() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let ask = |path: &str, body: Value| {
        let (status, _, answer) = server.ask(&agent(), path, &body);
        (status, answer)
    };
    let examples = json!({ "examples": [{ "x": [1, 2] }, { "x": [5, 0] }] });
    assert_eq!(
        ask("/v1/models/affine:classify", examples.clone()),
        (200, json!({ "results": [[["c", 10.0], ["b", 2.0]], [["c", 10.0], ["a", 5.0]]] }))
    );
    assert_eq!(ask("/v1/models/sum:regress", examples), (200, json!({ "results": [3.0, 5.0] })));
    let context = json!({ "context": { "x": [1, 1] }, "examples": [{}, { "x": [2, 2] }] });
    assert_eq!(ask("/v1/models/sum:regress", context), (200, json!({ "results": [2.0, 4.0] })));
    let named = json!({ "signature_name": "other", "instances": [[1, 2]] });
    assert_eq!(ask("/v1/models/sum:predict", named).0, 400);
    let metadata: Value = serde_json::from_str(&server.text("/v1/models/affine/metadata")).unwrap();
    let signature =
        &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"];
    assert_eq!(signature["dtype"], "DT_FLOAT");
    assert_eq!(signature["tensor_shape"]["dim"][0]["size"], "-1");
    assert_eq!(signature["tensor_shape"]["dim"][1]["size"], "2");
    let models: Value = serde_json::from_str(&server.text("/v1/models")).unwrap();
    assert_eq!(models, json!({ "models": ["affine", "same", "sum"] }));
}

#[test]
fn odd_numbers_go_in_and_come_out() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let send = |body: &str| {
        let request = agent().post(server.url("/v1/models/same:predict"));
        let mut response = request.send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, body) = send(r#"{"instances": [[Infinity, 1e-45], [-Infinity, 3.4028235e38]]}"#);
    assert_eq!(status, 200, "{body}");
    let compact: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(compact, r#"{"predictions":[[Infinity,1e-45],[0.0,3.4028235e+38]]}"#);
    for wrong in [
        r#"{"instances": [[1, "2"]]}"#,
        r#"{"instances": [[1, 2], [3]]}"#,
        r#"{"instances": []}"#,
        r#"{"instances": [[1, 2]], "inputs": [[1, 2]]}"#,
        r#"{"instances": [[1, 2]]} and more"#,
        r#"[[1, 2]]"#,
        "",
    ] {
        let (status, body) = send(wrong);
        assert_eq!(status, 400, "{wrong}: {body}");
        assert!(body.starts_with("{\"error\":"), "{body}");
    }
    // Deep nesting must not reach the end of the stack.
    assert_eq!(send(&format!("{{\"instances\": {}", "[".repeat(1 << 20))).0, 400);
}

#[test]
fn every_answer_has_an_id_and_every_path_an_answer() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let get = |path: &str, id: Option<&str>| {
        let mut request = agent().get(server.url(path));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let response = request.call().unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        (response.status().as_u16(), id)
    };
    assert_eq!(get("/v1/models/sum", Some("mine")), (200, "mine".to_owned()));
    let (status, id) = get("/nothing/here", None);
    assert_eq!(status, 404);
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    // TensorFlow Serving calls this malformed, not a wrong method.
    assert_eq!(get("/v1/models/sum:predict", None).0, 400);
    assert_eq!(get("/healthz", None).0, 200);
    assert_eq!(get("/readyz", None).0, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let dir = repository();
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--max-body-bytes=1000"]);
    let address = server.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = "POST /v1/models/sum:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000000\r\n\
        expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let long = format!("{{\"instances\": [[1, 2]], \"more\": \"{}\"}}", "x".repeat(2000));
    let response = agent().post(server.url("/v1/models/sum:predict")).send(long).unwrap();
    assert_eq!(response.status(), 413);
}
