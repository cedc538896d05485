//! What is on disk changes under the server, with care and without.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, agent, onnx, photo, put};

fn times(factor: f32) -> Vec<u8> {
    onnx::affine(1, 1, &[factor])
}

fn ask(server: &Server, path: &str) -> (u16, Value) {
    let (status, _, answer) =
        server.ask(&agent(), &format!("/v1/models/{path}:predict"), &json!({ "instances": [[3]] }));
    (status, answer)
}

fn ok(number: f64) -> (u16, Value) {
    (200, json!({ "predictions": [[number]] }))
}

#[test]
fn a_file_that_is_replaced_half_way_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "m", 1, &times(2.0));
    let server = Server::start(dir.path().to_str().unwrap());
    assert_eq!(ask(&server, "m"), ok(6.0));

    // Written in place, and interrupted: the old one goes on, and the status says why.
    let (path, new) = (dir.path().join("m/1/model.onnx"), times(5.0));
    std::fs::write(&path, &new[..new.len() / 2]).unwrap();
    server.wait_for("/v1/models/m", |status| status.contains("can't load the model"));
    assert!(server.text("/v1/models/m").contains("AVAILABLE"));
    assert_eq!(ask(&server, "m"), ok(6.0));

    // Written slowly: not looked at before it rests.
    let mut file = std::fs::File::create(&path).unwrap();
    for chunk in new.chunks(new.len() / 8) {
        file.write_all(chunk).unwrap();
        file.sync_all().unwrap();
        assert_eq!(ask(&server, "m"), ok(6.0));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(file);
    server.wait_for("/v1/models/m", |status| status.contains("\"OK\""));
    let start = std::time::Instant::now();
    while ask(&server, "m") != ok(15.0) {
        assert!(start.elapsed() < Duration::from_secs(30), "the new file is never served");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_was_killed_serves_again_from_what_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "m", 1, &times(2.0));
    let mut server = Server::start(dir.path().to_str().unwrap());
    assert_eq!(ask(&server, "m"), ok(6.0));
    // Killed while a version is on its way in.
    let half = times(7.0);
    put(dir.path(), "m", 2, &half[..half.len() / 2]);
    server.kill();
    let server = Server::start(dir.path().to_str().unwrap());
    // What wants to be the newest is broken, so nothing but it is wanted: told, not guessed.
    assert_eq!(ask(&server, "m").0, 503);
    std::fs::remove_dir_all(dir.path().join("m/2")).unwrap();
    server.wait_for("/v1/models/m/versions/1", |status| status.contains("AVAILABLE"));
    assert_eq!(ask(&server, "m"), ok(6.0));
}

#[test]
fn labels_and_a_version_of_its_own_mind() {
    let dir = tempfile::tempdir().unwrap();
    [1, 2].iter().for_each(|v| put(dir.path(), "m", *v, &times(*v as f32)));
    let toml =
        "[versions]\nall = true\n[labels]\nstable = 1\ncanary = 2\n[batching]\nmax_batch = 4";
    std::fs::write(dir.path().join("m/model.toml"), toml).unwrap();
    std::fs::write(dir.path().join("m/2/model.toml"), "[batching]\nmax_batch = 2").unwrap();
    let server = Server::start(dir.path().to_str().unwrap());
    assert_eq!(ask(&server, "m/labels/stable"), ok(3.0));
    assert_eq!(ask(&server, "m/labels/canary"), ok(6.0));
    assert_eq!(ask(&server, "m"), ok(6.0));
    let mut response = agent().get(server.admin_url("/admin/v1/models/m")).call().unwrap();
    let told: Value = response.body_mut().read_json().unwrap();
    let batch = |i: usize| &told["versions"][i]["batching"]["max_batch"];
    assert_eq!((batch(0), batch(1)), (&json!(4), &json!(2)), "{told}");

    // A key that is not known leaves what is served as it is.
    std::fs::write(dir.path().join("m/model.toml"), "[batching]\nmax_bach = 4").unwrap();
    let start = std::time::Instant::now();
    loop {
        let mut response = agent().get(server.admin_url("/admin/v1/models/m")).call().unwrap();
        let told: Value = response.body_mut().read_json().unwrap();
        if told["problem"]
            .as_str()
            .is_some_and(|p| p.contains("max_bach") && p.contains("max_batch"))
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{told}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&server, "m"), ok(6.0));
}

#[test]
fn a_detector_gives_boxes_in_the_photo() {
    let dir = tempfile::tempdir().unwrap();
    let boxes = [[8.0, 8.0, 16.0, 24.0], [9.0, 8.0, 16.0, 24.0], [0.0, 0.0, 4.0, 4.0]];
    let scores = [0.1, 0.9, 0.2, 0.8, 0.7, 0.1];
    put(dir.path(), "d", 1, &onnx::detector(32, &boxes, 2, &scores));
    std::fs::write(dir.path().join("d/labels.txt"), "dog\ncat\n").unwrap();
    let toml = "[input]\nkind = 'image'\nresize = 'stretch'\n\
        [output]\nkind = 'detection'\nboxes = 'boxes'\nscores = 'scores'\nlabels = 'labels.txt'";
    std::fs::write(dir.path().join("d/model.toml"), toml).unwrap();
    let server = Server::start(dir.path().to_str().unwrap());
    let (status, answer) = server.post("/v1/models/d:predict", "image/jpeg", &photo("chelsea.jpg"));
    assert_eq!(status, 200, "{answer}");
    let found = answer["predictions"][0].as_array().unwrap();
    assert_eq!(found.len(), 2, "{answer}");
    assert_eq!((&found[0]["label"], &found[1]["label"]), (&json!("cat"), &json!("dog")));
    // The photo is 451 × 300; the model saw 32 × 32.
    let bbox: Vec<f64> =
        found[0]["box"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let expected = [8.0 * 451.0 / 32.0, 75.0, 16.0 * 451.0 / 32.0, 225.0];
    assert!(bbox.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.1), "{bbox:?}");
}
