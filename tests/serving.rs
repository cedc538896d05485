//! The main job: photos in, labels out, and what happens when that can't be.

use serde_json::{Value, json};

use crate::support::{self, MODELS, PREDICT, Server, photo, reference};

fn labels(answer: &Value) -> Vec<String> {
    let classes = answer.as_array().unwrap().iter();
    classes.map(|c| c["label"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_photo_gets_its_labels_by_every_way_in() {
    let server = Server::start(MODELS);
    let expected = reference("chelsea.jpg");
    assert_eq!(
        labels(&expected["predictions"])[..3],
        ["tiger cat", "Egyptian cat", "tabby, tabby cat"]
    );
    let bytes = photo("chelsea.jpg");
    // As `curl --data-binary` sends it, and as it should be sent.
    for kind in ["application/x-www-form-urlencoded", "image/jpeg"] {
        let (status, body) = server.post(PREDICT, kind, &bytes);
        assert_eq!((status, &body["predictions"][0]), (200, &expected["predictions"]));
    }
    use base64::Engine as _;
    let b64 = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let request = json!({ "instances": [{ "b64": b64 }, { "b64": b64 }] }).to_string();
    let (status, body) = server.post(PREDICT, "application/json", request.as_bytes());
    assert_eq!((status, &body["predictions"][1]), (200, &expected["predictions"]));
    let mut form =
        b"--x\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\n\r\n".to_vec();
    form.extend_from_slice(&bytes);
    form.extend_from_slice(b"\r\n--x--\r\n");
    let (status, body) = server.post(PREDICT, "multipart/form-data; boundary=x", &form);
    assert_eq!((status, &body["predictions"][0]), (200, &expected["predictions"]));
}

#[test]
fn the_same_pixels_give_the_same_logits_as_the_engine_alone() {
    let server = Server::start(MODELS);
    let expected = reference("coffee.jpg");
    let (status, body) =
        server.post(&format!("{PREDICT}?output=tensors"), "image/jpeg", &photo("coffee.jpg"));
    assert_eq!(status, 200);
    let floats = |v: &Value| -> Vec<f32> {
        v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let logits = floats(&expected["outputs"][0]);
    assert_eq!(floats(&body["predictions"][0]), logits);
    // The pixels as JSON numbers, in a batch larger than max_batch: split and rejoined.
    let pixels = floats(&expected["pixels"]);
    let image: Vec<Vec<&[f32]>> =
        pixels.chunks(224 * 224).map(|c| c.chunks(224).collect()).collect();
    let request = json!({ "inputs": vec![&image; 9] }).to_string();
    let (status, body) = server.post(PREDICT, "application/json", request.as_bytes());
    assert_eq!(status, 200, "{body}");
    let rows = body["outputs"].as_array().unwrap();
    assert_eq!(rows.len(), 9);
    rows.iter().for_each(|row| assert_eq!(floats(row), logits));
}

#[test]
fn faults_are_told_with_their_own_status() {
    let server = Server::start(MODELS);
    let check = |path: &str, kind: &str, body: &[u8], status: u16, says: &str| {
        let (got, answer) = server.post(path, kind, body);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(got == status && error.contains(says), "{path}: {got} {answer}");
    };
    let photo = photo("chelsea.jpg");
    let json = "application/json";
    check("/v1/models/nope:predict", json, b"{}", 404, "Latest(nope)");
    check("/v1/models/efficientnet_lite0/versions/9:predict", json, b"{}", 404, "Specific");
    check("/v1/models/efficientnet_lite0/labels/x:predict", json, b"{}", 400, "label");
    check("/v1/models/efficientnet_lite0:explain", json, b"{}", 400, "Malformed request: POST");
    check(PREDICT, json, b"{}", 400, "Missing 'inputs' or 'instances' key");
    check(PREDICT, json, b"{\"instances\": [", 400, "JSON");
    check(PREDICT, json, b"{\"instances\": [[1, 2]]}", 400, "takes");
    check(PREDICT, "image/jpeg", &photo[..photo.len() / 2], 400, "image 0");
    check(PREDICT, "image/jpeg", b"not an image at all", 400, "image 0");
    check(PREDICT, "video/mp4", &photo, 415, "content-type");
}

#[test]
fn a_broken_version_leaves_the_old_one_serving_and_traffic_rolls_back() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m");
    let put = |version: &str, bytes: &[u8]| {
        std::fs::create_dir_all(model.join(version)).unwrap();
        std::fs::write(model.join(version).join("model.onnx"), bytes).unwrap();
    };
    let demo = format!("{MODELS}/efficientnet_lite0");
    for file in ["model.toml", "labels.txt"] {
        std::fs::create_dir_all(&model).unwrap();
        std::fs::copy(format!("{demo}/{file}"), model.join(file)).unwrap();
    }
    let onnx = std::fs::read(format!("{demo}/1/model.onnx")).unwrap();
    put("1", &onnx);
    let server = Server::start(dir.path().to_str().unwrap());
    let version = |path: &str| server.version_of(path, &photo("coffee.jpg"));
    assert_eq!(version("/v1/models/m:predict"), "1");

    put("2", &onnx[..onnx.len() / 2]);
    server.wait_for("/v1/models/m", |status| status.contains("\"END\""));
    assert!(server.text("/v1/models/m").contains("can't load the model"));
    assert_eq!(version("/v1/models/m:predict"), "1");

    put("2", &onnx);
    server.wait_for("/v1/models/m/versions/2", |status| status.contains("AVAILABLE"));
    assert_eq!(version("/v1/models/m:predict"), "2");
    assert_eq!(version("/v1/models/m/versions/1:predict"), "1");

    server.traffic(&["rollback", "m"]).unwrap();
    assert_eq!(version("/v1/models/m:predict"), "1");
    server.traffic(&["set", "m", "1=1", "2=1"]).unwrap();
    let seen: std::collections::BTreeSet<_> =
        (0..40).map(|_| version("/v1/models/m:predict")).collect();
    assert_eq!(seen.len(), 2);
    assert!(server.traffic(&["set", "m", "7=1"]).unwrap_err().contains("not loaded"));
}

#[test]
fn a_deadline_is_kept_even_when_the_engine_is_busy() {
    let server = Server::start(MODELS);
    // No run of the model ends within 5 ms.
    let (status, _) = server.post_within(PREDICT, &photo("chelsea.jpg"), "5");
    assert_eq!(status, 504);
    let (status, _) = server.post_within(PREDICT, &photo("chelsea.jpg"), "soon");
    assert_eq!(status, 400);
}

#[test]
fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let flags = ["--max-queue-rows=1", "--compute-threads=1", "--max-batch=1"];
    let server = Server::start_with(MODELS, &flags);
    let photo = photo("chelsea.jpg");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let post = || scope.spawn(|| server.post_within(PREDICT, &photo, "30000"));
        let posts: Vec<_> = (0..16).map(|_| post()).collect();
        posts.into_iter().map(|p| p.join().unwrap()).collect()
    });
    assert!(answers.iter().any(|(status, _)| *status == 200), "{answers:?}");
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status != 200).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|(s, after)| *s == 503 && after.is_some()), "{answers:?}");
    assert!(server.text("/metrics").contains("reason=\"queue_full\""));
}

#[test]
fn an_accepted_request_is_answered_when_the_server_is_told_to_stop() {
    let server = Server::start_with(MODELS, &["--lame-duck-ms=1500"]);
    let photo = photo("chelsea.jpg");
    std::thread::scope(|scope| {
        let posts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.post_within(PREDICT, &photo, "30000").0))
            .collect();
        server.terminate();
        server.wait_for("/readyz", |text| text.contains("false"));
        posts.into_iter().for_each(|p| assert_eq!(p.join().unwrap(), 200));
    });
    assert!(server.wait().success());
}

#[test]
fn models_that_do_not_batch_are_served_correctly_alone() {
    use support::onnx;
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("sums", onnx::column_sums(2)),
        ("one", onnx::relu_of_one(2)),
        ("two", onnx::sum_and_difference(2)),
    ] {
        let version = dir.path().join(name).join("1");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("model.onnx"), bytes).unwrap();
    }
    let server = Server::start(dir.path().to_str().unwrap());
    let check = |model: &str, request: Value, expected: Value| {
        let body = request.to_string();
        let path = format!("/v1/models/{model}:predict");
        let (status, answer) = server.post(&path, "application/json", body.as_bytes());
        assert_eq!((status, answer), (200, expected), "{model}");
    };
    // An output without the batch belongs to the whole request, which is neither split nor joined.
    let rows: Vec<[i32; 2]> = vec![[1, 10]; 20];
    check("sums", json!({ "inputs": rows }), json!({ "outputs": [20.0, 200.0] }));
    // A fixed batch of one takes several rows one by one.
    let rows = json!({ "instances": [[1, -1], [-2, 2], [3, 3]] });
    check("one", rows, json!({ "predictions": [[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]] }));
    let rows = json!({ "instances": [{ "a": [3, 4], "b": [1, 1] }, { "b": [5, 5], "a": [0, 0] }] });
    check(
        "two",
        rows,
        json!({ "predictions": [
            { "sum": [4.0, 5.0], "difference": [2.0, 3.0] },
            { "sum": [5.0, 5.0], "difference": [-5.0, -5.0] },
        ] }),
    );
}
