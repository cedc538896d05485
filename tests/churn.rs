//! Traffic changes, loads and unloads while requests go on: none fails, and nothing leaks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::support::{Server, agent, onnx, put};

/// A version of a model that multiplies by its own number.
fn times(version: u64) -> Vec<u8> {
    onnx::affine(1, 1, &[version as f32])
}

/// Asks `model` from a few threads until `done`, and checks that each answer is that of the
/// version that says it gave it.
fn ask_meanwhile(server: &Server, model: &str, work: impl FnOnce()) -> u64 {
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (done, asked) = (&done, &asked);
            scope.spawn(move || {
                let agent = agent();
                let path = format!("/v1/models/{model}:predict");
                while !done.load(Ordering::Relaxed) {
                    let body = json!({ "instances": [[thread]] });
                    let (status, version, answer) = server.ask(&agent, &path, &body);
                    assert_eq!(status, 200, "{answer}");
                    assert_eq!(answer, json!({ "predictions": [[(version * thread) as f64]] }));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stop = Stop(&done);
        work();
        drop(stop);
    });
    asked.into_inner()
}

/// Ends the asking, also when what goes on meanwhile fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_traffic_changes_fail_no_request() {
    let dir = tempfile::tempdir().unwrap();
    [1, 2, 3].iter().for_each(|v| put(dir.path(), "m", *v, &times(*v)));
    std::fs::write(dir.path().join("m/model.toml"), "[versions]\nall = true").unwrap();
    let server = Server::start(dir.path().to_str().unwrap());
    let asked = ask_meanwhile(&server, "m", || {
        let agent = agent();
        let url = server.admin_url("/admin/v1/models/m/traffic");
        for i in 0..1000u32 {
            let mut response = if i % 5 == 4 {
                agent.post(format!("{url}/rollback")).send_empty().unwrap()
            } else {
                let weights = json!({ "1": i % 7, "2": 1 + i % 3, "3": i % 2 });
                let weights: serde_json::Map<_, _> = weights
                    .as_object()
                    .unwrap()
                    .clone()
                    .into_iter()
                    .filter(|(_, w)| *w != json!(0))
                    .collect();
                agent.put(&url).send_json(json!({ "weights": weights })).unwrap()
            };
            let body = response.body_mut().read_to_string().unwrap();
            assert_eq!(response.status(), 200, "{body}");
        }
    });
    assert!(asked > 100, "{asked}");
}

#[test]
fn two_hundred_loads_and_unloads_fail_no_request_and_leak_nothing() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "m", 1, &times(1));
    std::fs::write(dir.path().join("m/model.toml"), "keep_warm = 0").unwrap();
    let server =
        Server::start_with(dir.path().to_str().unwrap(), &["--settle-ms=0", "--poll-ms=20"]);
    let mut early = 0;
    ask_meanwhile(&server, "m", || {
        for version in 2..=201 {
            put(dir.path(), "m", version, &times(version));
            server.wait_for(&format!("/v1/models/m/versions/{version}"), |status| {
                status.contains("AVAILABLE")
            });
            std::fs::remove_dir_all(dir.path().join(format!("m/{}", version - 1))).unwrap();
            if version == 51 {
                early = server.rss();
            }
        }
    });
    server.wait_for("/metrics", |m| m.contains("ocelli_loaded_versions{model=\"m\"} 1\n"));
    let late = server.rss();
    assert!(late < early + early / 4 + (8 << 20), "from {early} to {late} bytes");
}
