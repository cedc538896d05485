//! The Open Inference Protocol over REST, against the engine's own answers.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::{MODELS, Server, agent, floats, onnx, photo, put, reference};

const DEMO: &str = "/v2/models/efficientnet_lite0";
const LENGTH: &str = "inference-header-content-length";

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn of(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        let mut response = response.unwrap();
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    fn text(&self, header: &str) -> &str {
        self.headers.get(header).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.text("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The JSON, and the bytes behind it.
    #[track_caller]
    fn split(&self) -> (Value, &[u8]) {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.text("content-type"), "application/octet-stream");
        let (json, tensors) = self.body.split_at(self.text(LENGTH).parse().unwrap());
        (serde_json::from_slice(json).unwrap(), tensors)
    }

    #[track_caller]
    fn check(&self, status: u16, says: &str) {
        let body = self.json();
        let error = body["error"].as_str().unwrap_or_default();
        assert!(self.status == status && error.contains(says), "{} {body}", self.status);
    }
}

fn get(server: &Server, path: &str) -> Answer {
    Answer::of(agent().get(server.url(path)).call())
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let request = agent().post(server.url(path));
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send(body))
}

fn infer(server: &Server, model: &str, request: &Value) -> Answer {
    post(server, &format!("{model}/infer"), &[], request.to_string().as_bytes())
}

/// A request whose tensors follow the JSON.
fn infer_binary(server: &Server, model: &str, request: &Value, tensors: &[u8]) -> Answer {
    let json = request.to_string();
    let body = [json.as_bytes(), tensors].concat();
    post(server, &format!("{model}/infer"), &[(LENGTH, &json.len().to_string())], &body)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
}

/// Strings, each with its length before it.
fn strings<S: AsRef<[u8]>>(strings: &[S]) -> Vec<u8> {
    let one = |s: &S| [&(s.as_ref().len() as u32).to_le_bytes()[..], s.as_ref()].concat();
    strings.iter().flat_map(one).collect()
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "affine", 1, &onnx::affine(2, 3, &[1.0, 0.0, 2.0, 0.0, 1.0, 4.0]));
    let toml = "[output]\nkind = 'classification'\nlabels = 'labels.txt'";
    std::fs::write(dir.path().join("affine/model.toml"), toml).unwrap();
    std::fs::write(dir.path().join("affine/labels.txt"), "a\nb\nc\n").unwrap();
    put(dir.path(), "pair", 7, &onnx::sum_and_difference(2));
    put(dir.path(), "same", 1, &onnx::identity("same", &[onnx::D::S("batch"), onnx::D::N(500)]));
    dir
}

fn input(name: &str, shape: &[usize], data: Value) -> Value {
    json!({ "name": name, "shape": shape, "datatype": "FP32", "data": data })
}

#[test]
fn json_nested_and_flat_and_binary_give_what_the_engine_gives() {
    let server = Server::start(MODELS);
    let expected = reference("coffee.jpg");
    let logits = floats(&expected["outputs"][0]);
    let pixels = floats(&expected["pixels"]);
    let shape = [1, 3, 224, 224];
    let nested: Vec<Vec<&[f32]>> =
        pixels.chunks(224 * 224).map(|plane| plane.chunks(224).collect()).collect();
    for data in [json!([nested]), json!(pixels)] {
        let answer = infer(&server, DEMO, &json!({ "inputs": [input("input", &shape, data)] }));
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.text("x-ocelli-model-version"), "1");
        let output = &body["outputs"][0];
        assert_eq!(floats(&output["data"]), logits);
        assert_eq!(body["model_name"], "efficientnet_lite0");
        assert_eq!(body["model_version"], "1");
        assert_eq!(body.get("id"), None);
        let told = [&output["name"], &output["datatype"], &output["shape"]];
        assert_eq!(told, [&json!("logits"), &json!("FP32"), &json!([1, 1000])]);
    }
    let sizes = json!({ "binary_data_size": pixels.len() * 4 });
    let input = json!({ "name": "input", "shape": shape, "datatype": "FP32", "parameters": sizes });
    let request = json!({ "inputs": [input], "parameters": { "binary_data_output": true } });
    let answer = infer_binary(&server, DEMO, &request, &bytes(&pixels));
    let (json, tensors) = answer.split();
    assert_eq!(values(tensors), logits);
    assert_eq!(json["outputs"][0]["parameters"], json!({ "binary_data_size": 4000 }));
    assert_eq!(json["outputs"][0].get("data"), None);
    assert_eq!(answer.text("content-length"), answer.body.len().to_string());
}

#[test]
fn an_image_input_takes_encoded_images_as_bytes() {
    let server = Server::start(MODELS);
    let names = ["coffee.jpg", "chelsea.jpg"];
    let logits = names.map(|name| floats(&reference(name)["outputs"][0]));
    let photos = strings(&names.map(photo));
    let request = |shape: &[usize]| {
        let parameters = json!({ "binary_data_size": photos.len() });
        let input = json!({ "name": "input", "shape": shape, "datatype": "BYTES",
            "parameters": parameters });
        let wanted = json!({ "name": "logits", "parameters": { "binary_data": true } });
        json!({ "inputs": [input], "outputs": [wanted] })
    };
    for shape in [&[2][..], &[2, 1]] {
        let answer = infer_binary(&server, DEMO, &request(shape), &photos);
        assert_eq!(values(answer.split().1), logits.concat());
    }
    let answer = infer_binary(&server, DEMO, &request(&[1, 2]), &photos);
    answer.check(400, "input `input`: expected one image a row, got 2 in 1");
    // Without any JSON: the body is the image.
    let answer = post(&server, &format!("{DEMO}/infer"), &[(LENGTH, "0")], &photo(names[0]));
    assert_eq!(values(answer.split().1), logits[0]);
    let broken = photo(names[0]);
    let answer =
        post(&server, &format!("{DEMO}/infer"), &[(LENGTH, "0")], &broken[..broken.len() / 2]);
    answer.check(400, "image 0");
    // The best classes, with their labels.
    let wanted = json!({ "name": "logits", "parameters": { "classification": 2 } });
    let mut request = request(&[2]);
    request["outputs"] = json!([wanted]);
    let body = infer_binary(&server, DEMO, &request, &photos).json();
    let output = &body["outputs"][0];
    assert_eq!((&output["datatype"], &output["shape"]), (&json!("BYTES"), &json!([2, 2])));
    let best = output["data"][2].as_str().unwrap();
    assert!(best.ends_with(":282:tiger cat"), "{best}");
}

#[test]
fn outputs_come_as_they_are_asked_for() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let pair = "/v2/models/pair/versions/7";
    let a = input("a", &[2, 2], json!([[1, 2], [3, 4]]));
    let b = input("b", &[2, 2], json!([10, 20, 30, 40]));
    // In any order, by their names; all outputs in the signature's order.
    let body = infer(&server, pair, &json!({ "inputs": [b, a] })).json();
    assert_eq!(body["outputs"][0]["name"], "sum");
    assert_eq!(body["outputs"][0]["data"], json!([11.0, 22.0, 33.0, 44.0]));
    assert_eq!(body["outputs"][1]["data"], json!([-9.0, -18.0, -27.0, -36.0]));
    let wanted = json!([
        { "name": "difference" },
        { "name": "sum", "parameters": { "binary_data": false } },
    ]);
    let parameters = json!({ "binary_data_output": true });
    let request =
        json!({ "id": "mine", "inputs": [a, b], "outputs": wanted, "parameters": parameters });
    let answer = infer(&server, pair, &request);
    let (json, tensors) = answer.split();
    assert_eq!(json["id"], "mine");
    assert_eq!(json["outputs"][0]["name"], "difference");
    assert_eq!(values(tensors), [-9.0, -18.0, -27.0, -36.0]);
    assert_eq!(json["outputs"][1]["data"], json!([11.0, 22.0, 33.0, 44.0]));
    // One input in the JSON, one behind it.
    let mut a = a;
    a.as_object_mut().unwrap().remove("data");
    a["parameters"] = json!({ "binary_data_size": 16 });
    let request = json!({ "inputs": [a, b], "outputs": [{ "name": "sum" }] });
    let body = infer_binary(&server, pair, &request, &bytes(&[1.0, 2.0, 3.0, 4.0])).json();
    assert_eq!(body["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(body["outputs"][0]["data"], json!([11.0, 22.0, 33.0, 44.0]));
    // The best classes, as text and as bytes.
    let x = input("x", &[2, 2], json!([1, 2, 5, 0]));
    let wanted = |more: Value| json!([{ "name": "y", "parameters": more }]);
    let request = json!({ "inputs": [x], "outputs": wanted(json!({ "classification": 2 })) });
    let body = infer(&server, "/v2/models/affine", &request).json();
    let best = ["10.000000:2:c", "2.000000:1:b", "10.000000:2:c", "5.000000:0:a"];
    assert_eq!(body["outputs"][0]["data"], json!(best));
    let more = json!({ "classification": 2, "binary_data": true });
    let request = json!({ "inputs": [x], "outputs": wanted(more) });
    let answer = infer(&server, "/v2/models/affine", &request);
    assert_eq!(answer.split().1, strings(&best));
}

#[test]
fn a_dimension_beside_the_batch_is_each_request_s_choice() {
    use onnx::D;
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "same", 1, &onnx::identity("same", &[D::S("batch"), D::S("n")]));
    let server = Server::start(dir.path().to_str().unwrap());
    for n in [1, 3, 2] {
        let data: Vec<f32> = (0..2 * n).map(|i| i as f32).collect();
        let body = json!({ "inputs": [input("x", &[2, n], json!(data))] });
        let (status, _, answer) = server.ask(&agent(), "/v2/models/same/infer", &body);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["outputs"][0]["shape"], json!([2, n]));
        assert_eq!(answer["outputs"][0]["data"], json!(data));
    }
}

#[test]
fn a_raw_body_is_one_row() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let raw = |model: &str, body: &[u8]| {
        post(&server, &format!("/v2/models/{model}/infer"), &[(LENGTH, "0")], body)
    };
    let answer = raw("affine", &bytes(&[1.0, 2.0]));
    let (json, tensors) = answer.split();
    assert_eq!(json["outputs"][0]["shape"], json!([1, 3]));
    assert_eq!(values(tensors), [1.0, 2.0, 10.0]);
    raw("affine", &bytes(&[1.0])).check(400, "takes 8 bytes, got 4");
    raw("affine", b"").check(400, "takes 8 bytes, got 0");
    raw("pair", b"abcd").check(400, "is for a model of one input, this one has 2");
}

#[test]
fn faults_are_told_with_their_own_status() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let affine = "/v2/models/affine";
    let x = input("x", &[1, 2], json!([1, 2]));
    let good = json!({ "inputs": [x] });
    let check = |model: &str, request: &Value, status: u16, says: &str| {
        infer(&server, model, request).check(status, says);
    };
    check("/v2/models/nope", &good, 404, "nope");
    check("/v2/models/affine/versions/9", &good, 404, "affine");
    check("/v2/models/affine/versions/x", &good, 400, "version `x` is no number");
    check(affine, &json!({}), 400, "affine version 1: the request has no `inputs`");
    check(affine, &json!({ "inputs": [] }), 400, "input `x` is missing");
    let wrong = |shape: &[usize], data: Value| json!({ "inputs": [input("x", shape, data)] });
    check(affine, &wrong(&[1, 2], json!([1])), 400, "takes 2 elements, data has 1 at line 1");
    check(affine, &wrong(&[1, 3], json!([1, 2, 3])), 400, "input `x` takes x FP32 [batch,2], got");
    check(affine, &wrong(&[0, 2], json!([])), 400, "shape[0]: 0");
    let mut ints = x.clone();
    ints["datatype"] = json!("INT32");
    check(affine, &json!({ "inputs": [ints] }), 400, "got INT32 [1, 2]");
    let mut strings = x.clone();
    (strings["datatype"], strings["data"]) = (json!("BYTES"), json!(["a", "b"]));
    check(affine, &json!({ "inputs": [strings] }), 400, "got BYTES [1, 2]");
    let asked = |name: &str| json!({ "inputs": [x], "outputs": [{ "name": name }] });
    check(affine, &asked("q"), 400, "no output `q`; outputs: y");
    let shared = json!({ "inputs": [{ "name": "x", "shape": [1, 2], "datatype": "FP32",
        "parameters": { "shared_memory_region": "r", "shared_memory_byte_size": 8 } }] });
    check(affine, &shared, 501, "shared memory is left out on purpose");
    let raw = |length: &str, body: &[u8]| {
        post(&server, "/v2/models/affine/infer", &[(LENGTH, length)], body)
    };
    raw("99", b"{}").check(400, "inference-header-content-length is 99, but the body has 2 bytes");
    raw("-1", b"{}").check(400, "is no length");
    raw("2", b"{}more").check(400, "the request has no `inputs`");
    // Deep nesting must not reach the end of the stack.
    let deep = format!("{{\"inputs\": {}", "[".repeat(1 << 20));
    post(&server, "/v2/models/affine/infer", &[], deep.as_bytes()).check(400, "inputs[0]");
    let timeout = [("x-request-timeout-ms", "soon")];
    post(&server, "/v2/models/affine/infer", &timeout, b"{}").check(400, "x-request-timeout-ms");
    // No model that is there was hurt.
    assert_eq!(infer(&server, affine, &good).status, 200);
    let wrong_method = get(&server, "/v2/models/affine/infer");
    wrong_method.check(405, "/v2/models/affine/infer does not take GET");
    post(&server, "/v2/models/affine", &[], b"").check(405, "does not take POST");
    get(&server, "/v2/nothing").check(404, "no such route");
    get(&server, "/v2/models/%ff").check(400, "no model's name");
}

#[test]
fn priority_and_timeout_are_heeded() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let ask = |parameters: Value| {
        let x = input("x", &[1, 2], json!([1, 2]));
        let request = json!({ "id": "7", "inputs": [x], "parameters": parameters });
        infer(&server, "/v2/models/affine", &request)
    };
    for priority in [0, 1, 2, 9] {
        let answer =
            ask(json!({ "priority": priority, "timeout": 20_000_000, "own": "passed over" }));
        assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("7")));
    }
    ask(json!({ "timeout": 1 })).check(504, "affine version 1: no answer within 1µs");
    ask(json!({ "priority": "high" })).check(400, "parameters.priority: expected a whole number");
    assert_eq!(ask(json!({ "timeout": u64::MAX })).status, 200);
}

#[test]
fn the_server_and_its_models_are_told_of() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let told = |path: &str| {
        let answer = get(&server, path);
        (answer.status, answer.json())
    };
    let (status, body) = told("/v2");
    assert_eq!((status, &body["name"]), (200, &json!("ocelli")));
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(body["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    assert_eq!(told("/v2/health/live"), (200, json!({ "live": true })));
    assert_eq!(told("/v2/health/ready"), (200, json!({ "ready": true })));
    assert_eq!(told("/v2/models"), (200, json!({ "models": ["affine", "pair", "same"] })));
    let metadata = json!({
        "name": "pair",
        "versions": ["7"],
        "platform": "tract_onnx",
        "inputs": [
            { "name": "a", "datatype": "FP32", "shape": [-1, 2] },
            { "name": "b", "datatype": "FP32", "shape": [-1, 2] },
        ],
        "outputs": [
            { "name": "sum", "datatype": "FP32", "shape": [-1, 2] },
            { "name": "difference", "datatype": "FP32", "shape": [-1, 2] },
        ],
    });
    assert_eq!(told("/v2/models/pair"), (200, metadata.clone()));
    assert_eq!(told("/v2/models/pair/versions/7"), (200, metadata));
    let ready = (200, json!({ "name": "pair", "ready": true }));
    assert_eq!(told("/v2/models/pair/ready"), ready);
    assert_eq!(told("/v2/models/pair/versions/7/ready"), ready);
    for path in ["", "/ready", "/config", "/stats"] {
        assert_eq!(told(&format!("/v2/models/nope{path}")).0, 404, "{path}");
        assert_eq!(told(&format!("/v2/models/pair/versions/8{path}")).0, 404, "{path}");
    }
    let (status, config) = told("/v2/models/pair/config");
    assert_eq!((status, &config["max_batch_size"]), (200, &json!(8)));
    let input =
        json!({ "name": "a", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [2] });
    assert_eq!(config["input"][0], input);
    let x = input_of_affine();
    assert_eq!(infer(&server, "/v2/models/affine", &json!({ "inputs": [x] })).status, 200);
    let (status, stats) = told("/v2/models/affine/versions/1/stats");
    let only = &stats["model_stats"][0];
    assert_eq!((status, &only["inference_count"]), (200, &json!(1)));
    assert_eq!(only["inference_stats"]["success"]["count"], 1);
    assert_eq!(told("/v2/models/affine/stats").1, stats);
    let (_, all) = told("/v2/models/stats");
    let names: Vec<_> = all["model_stats"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["affine", "pair", "same"]);
    let index = |body: &[u8]| post(&server, "/v2/repository/index", &[], body).json();
    let entry = |name: &str, version: &str| json!({ "name": name, "version": version, "state": "READY", "reason": "" });
    let all = json!([entry("affine", "1"), entry("pair", "7"), entry("same", "1")]);
    assert_eq!(
        (index(b""), index(b"{}"), index(br#"{"ready": true}"#)),
        (all.clone(), all.clone(), all)
    );
    let wrong = post(&server, "/v2/repository/index", &[], br#"{"ready": 1}"#);
    wrong.check(400, "JSON Parse error");
}

fn input_of_affine() -> Value {
    input("x", &[1, 2], json!([1, 2]))
}

#[test]
fn a_model_that_can_not_serve_is_not_ready() {
    let dir = repository();
    put(dir.path(), "broken", 1, b"no model");
    let server = Server::start(dir.path().to_str().unwrap());
    let answer = get(&server, "/v2/models/broken/ready");
    assert_eq!((answer.status, answer.json()), (503, json!({ "name": "broken", "ready": false })));
    infer(&server, "/v2/models/broken", &json!({})).check(503, "can't load the model");
    let index = post(&server, "/v2/repository/index", &[], b"").json();
    assert_eq!(index[1]["state"], "UNAVAILABLE");
    assert!(index[1]["reason"].as_str().unwrap().contains("can't load the model"), "{index}");
    let ready = post(&server, "/v2/repository/index", &[], br#"{"ready": true}"#).json();
    assert_eq!(ready.as_array().unwrap().len(), 3);
}

#[test]
fn what_is_left_out_says_so() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let memory = "shared memory is left out on purpose";
    get(&server, "/v2/systemsharedmemory/status").check(501, memory);
    post(&server, "/v2/systemsharedmemory/region/r/register", &[], b"{}").check(501, memory);
    post(&server, "/v2/cudasharedmemory/unregister", &[], b"").check(501, memory);
    get(&server, "/v2/trace/setting").check(501, "trace and log settings");
    get(&server, "/v2/models/affine/trace/setting").check(501, "trace and log settings");
    post(&server, "/v2/logging", &[], b"{}").check(501, "trace and log settings");
    post(&server, "/v2/models/affine/generate", &[], b"{}").check(501, "nothing to generate");
    let stream = "/v2/models/affine/versions/1/generate_stream";
    post(&server, stream, &[], b"{}").check(501, "nothing to generate");
}

#[test]
fn models_are_unloaded_and_loaded_where_that_is_allowed() {
    let dir = repository();
    let root = dir.path().to_str().unwrap();
    let ask = |server: &Server, path: &str, body: &[u8]| {
        post(server, &format!("/v2/repository/models/{path}"), &[], body)
    };
    let closed = Server::start(root);
    ask(&closed, "affine/unload", b"").check(403, "--allow-control");
    ask(&closed, "affine/load", b"").check(403, "--allow-control");
    let server = Server::start_with(root, &["--allow-control=true"]);
    let request = json!({ "inputs": [input_of_affine()] });
    let status = || infer(&server, "/v2/models/affine", &request).status;
    assert_eq!(status(), 200);
    let parameters = br#"{"parameters": {"unload_dependents": true}}"#;
    assert_eq!(ask(&server, "affine/unload", parameters).status, 200);
    assert_ne!(status(), 200);
    assert_ne!(get(&server, "/v2/models/affine/ready").status, 200);
    let load = |body: &[u8]| ask(&server, "affine/load", body);
    load(br#"{"parameters": {"config": "{}"}}"#).check(501, "load parameter `config`");
    load(br#"{"parameters": {"file:1/model.onnx": "AA=="}}"#).check(501, "`file:1/model.onnx`");
    load(b"{").check(400, "JSON Parse error");
    assert_ne!(status(), 200);
    assert_eq!(load(b"{}").status, 200);
    assert_eq!(status(), 200);
    ask(&server, "nope/load", b"").check(404, "nope");
}

#[test]
fn bodies_may_be_compressed_both_ways() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    let row: Vec<f32> = (0..500).map(|i| i as f32 / 4.0).collect();
    let input = json!({ "name": "x", "shape": [1, 500], "datatype": "FP32",
        "parameters": { "binary_data_size": 2000 } });
    let json =
        json!({ "inputs": [input], "parameters": { "binary_data_output": true } }).to_string();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&[json.as_bytes(), &bytes(&row)].concat()).unwrap();
    let packed = packed.finish().unwrap();
    let length = json.len().to_string();
    let headers =
        [(LENGTH, &length[..]), ("content-encoding", "gzip"), ("accept-encoding", "gzip")];
    // The length is that of the JSON before it was packed, both ways.
    let mut answer = post(&server, "/v2/models/same/infer", &headers, &packed);
    assert_eq!(answer.text("content-encoding"), "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain).unwrap();
    answer.body = plain;
    assert_eq!(values(answer.split().1), row);
}
