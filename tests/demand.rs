//! Models that are loaded when a request asks for them, and make room for others.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, agent, onnx, put};

/// A model of `n` inputs, whose answer is `factor` times their sum.
fn sums(n: usize, factor: f32) -> Vec<u8> {
    onnx::affine(n as i64, 1, &vec![factor; n])
}

fn on_demand(root: &Path, model: &str, onnx: &[u8]) {
    put(root, model, 1, onnx);
    std::fs::write(root.join(model).join("model.toml"), "load = \"demand\"").unwrap();
}

fn ask(server: &Server, model: &str, n: usize) -> (u16, Value) {
    let ones = json!({ "instances": [vec![1; n]] });
    let (status, _, answer) = server.ask(&agent(), &format!("/v1/models/{model}:predict"), &ones);
    (status, answer)
}

fn state(server: &Server, model: &str) -> (String, String) {
    let status: Value = serde_json::from_str(&server.text(&format!("/v1/models/{model}"))).unwrap();
    let version = &status["model_version_status"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&version["state"]), text(&version["status"]["error_message"]))
}

fn out() -> (String, String) {
    ("END".to_owned(), "loaded on demand".to_owned())
}

fn available() -> (String, String) {
    ("AVAILABLE".to_owned(), String::new())
}

fn code_of(server: &Server, path: &str) -> u16 {
    agent().get(server.url(path)).call().unwrap().status().as_u16()
}

#[test]
fn the_first_requests_wait_until_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    on_demand(dir.path(), "m", &sums(4, 2.0));
    let server = Server::start(dir.path().to_str().unwrap());
    // The server is ready, and the model is not until somebody wants it.
    assert_eq!(state(&server, "m"), out());
    assert_eq!(code_of(&server, "/v2/health/ready"), 200);
    assert_eq!(code_of(&server, "/v2/models/m/ready"), 503);
    // More at a time than commands may wait.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..100).map(|_| scope.spawn(|| ask(&server, "m", 4))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let right = (200, json!({ "predictions": [[8.0]] }));
    assert_eq!(answers.iter().filter(|answer| **answer == right).count(), 100, "{answers:?}");
    assert_eq!(state(&server, "m"), available());
    assert_eq!(code_of(&server, "/v2/models/m/ready"), 200);
}

#[test]
fn a_client_that_asks_for_the_signature_first_has_it_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["/v1/models/a/metadata", "/v2/models/b", "/v2/models/c/config"];
    ["a", "b", "c"].iter().for_each(|model| on_demand(dir.path(), model, &sums(4, 2.0)));
    let server = Server::start(dir.path().to_str().unwrap());
    for (model, path) in ["a", "b", "c"].into_iter().zip(paths) {
        assert_eq!(state(&server, model), out());
        assert_eq!(code_of(&server, path), 200, "{path}");
        assert_eq!(state(&server, model), available());
    }
}

#[test]
fn the_idle_one_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    const N: usize = 10_000;
    for (model, factor) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        on_demand(dir.path(), model, &sums(N, factor));
    }
    // Files of 40 kB each: two fit.
    let server = Server::start_with(
        dir.path().to_str().unwrap(),
        &["--model-memory-bytes", "100000", "--max-batch", "1"],
    );
    let right = |factor: f32| (200, json!({ "predictions": [[factor * N as f32]] }));
    let loaded = || ["a", "b", "c"].map(|model| state(&server, model) == available());
    assert_eq!(ask(&server, "a", N), right(1.0));
    assert_eq!(ask(&server, "b", N), right(2.0));
    assert_eq!(loaded(), [true, true, false]);
    // The loop looks at the counters now and then, and what was used within the last second stays.
    let pause = || std::thread::sleep(std::time::Duration::from_millis(1500));
    pause();
    assert_eq!(ask(&server, "a", N), right(1.0));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(ask(&server, "c", N), right(3.0));
    assert_eq!(loaded(), [true, false, true]);
    pause();
    assert_eq!(ask(&server, "b", N), right(2.0));
    assert_eq!(loaded().iter().filter(|loaded| **loaded).count(), 2);
}

#[test]
fn what_cant_be_loaded_is_told_to_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    on_demand(dir.path(), "big", &sums(10_000, 1.0));
    on_demand(dir.path(), "broken", &sums(4, 1.0)[..60]);
    on_demand(dir.path(), "out", &sums(4, 1.0));
    put(dir.path(), "stays", 1, &sums(4, 1.0));
    let server = Server::start_with(
        dir.path().to_str().unwrap(),
        &["--model-memory-bytes", "20000", "--allow-control", "true"],
    );
    let (status, answer) = ask(&server, "big", 10_000);
    let told = answer["error"].as_str().unwrap();
    assert_eq!(status, 503, "{told}");
    assert!(told.contains("model big can't be loaded now: its files take 40"), "{told}");
    assert!(told.contains("of the 20000 of model_memory_bytes"), "{told}");
    let (status, answer) = ask(&server, "broken", 4);
    let told = answer["error"].as_str().unwrap();
    assert_eq!(status, 503, "{told}");
    assert!(told.contains("tract can't load the model"), "{told}");
    // Unloaded by request is unloaded, until it is loaded by request.
    assert_eq!(server.post("/v2/repository/models/out/unload", "application/json", b"{}").0, 200);
    let (status, answer) = ask(&server, "out", 4);
    assert_eq!(status, 503);
    assert!(answer["error"].as_str().unwrap().contains("unloaded by request"), "{answer}");
    assert_eq!(server.post("/v2/repository/models/out/load", "application/json", b"{}").0, 200);
    assert_eq!(ask(&server, "out", 4).0, 200);
    assert_eq!(ask(&server, "stays", 4).0, 200);
}

#[test]
fn what_serves_answers_whatever_else_is_wanted_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    on_demand(dir.path(), "m", &sums(4, 2.0));
    put(dir.path(), "m", 2, &sums(4, 3.0)[..60]);
    let toml = "load = \"demand\"\n[versions]\nlatest = 2\n[labels]\nstable = 1\n";
    std::fs::write(dir.path().join("m/model.toml"), toml).unwrap();
    let server = Server::start(dir.path().to_str().unwrap());
    // By a label that is not known before it is loaded, while its newest version is broken.
    assert_eq!(ask(&server, "m/labels/stable", 4), (200, json!({ "predictions": [[8.0]] })));
    assert_eq!(ask(&server, "m/labels/unknown", 4).0, 400);
    assert_eq!(ask(&server, "m/versions/1", 4), (200, json!({ "predictions": [[8.0]] })));
    assert_eq!(ask(&server, "m/versions/2", 4).0, 503);
}
