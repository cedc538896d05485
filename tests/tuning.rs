//! `ocelli tune`, on a real model and by real runs; what it measures is no matter here, what it does with it is.

use std::path::Path;
use std::process::{Command, Output};

use ocelli::repository::spec::ModelSpecFile;
use serde_json::{Value, json};

use crate::support::{BINARY, EMBEDDED, Server, onnx, put};

/// With this delay no answer keeps the objective: a batch of that size would not, either.
const HOPELESS: &str = "# by hand
[batching]
max_batch = 512
max_queue_delay_ms = 60 # far too long
";
/// Numbers of a row.
const N: usize = 1024;

fn tune(model: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.envs(EMBEDDED).arg("tune").arg(model);
    command.args(["--cpus=2", "--seconds=0.2", "--json"]).args(args).output().unwrap()
}

#[test]
fn finds_what_keeps_the_objective_and_writes_it_where_the_server_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    // Each number times two.
    let doubles = (0..N * N).map(|i| if i % (N + 1) == 0 { 2.0 } else { 0.0 });
    let onnx = onnx::affine(N as i64, N as i64, &doubles.collect::<Vec<_>>());
    put(dir.path(), "m", 1, &onnx);
    let model = dir.path().join("m");
    let toml = model.join("model.toml");
    std::fs::write(&toml, HOPELESS).unwrap();

    let silent = tune(&model, &[]);
    assert_eq!(silent.status.code(), Some(1));
    let error = String::from_utf8(silent.stderr).unwrap();
    assert!(error.contains("name an objective, such as --slo p99=50ms"), "{error}");
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), HOPELESS);

    let plot = dir.path().join("tuned.svg");
    let out = tune(&model, &["--slo=p99=50ms", "--plot", plot.to_str().unwrap()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    // All ways to give two CPUs to the one engine that is here.
    let raw = told["raw"].as_array().unwrap();
    let split = |r: &Value| ["instances", "threads"].map(|key| r["setting"][key].as_u64().unwrap());
    let mut splits: Vec<_> = raw.iter().map(split).collect();
    splits.sort_unstable();
    assert_eq!(splits, [[1, 2], [2, 1]]);
    assert!(raw.iter().all(|r| r["rows_per_second"].as_f64().unwrap() > 0.0), "{told:#}");
    let measured = told["measured"].as_array().unwrap();
    assert_eq!(measured[0]["setting"]["max_queue_delay_ms"], 60.0);
    assert_eq!(measured[0]["rate"], 0.0);
    let points = |m: &Value| m["points"].as_array().unwrap().len();
    assert!(measured.iter().all(|m| points(m) == 6), "{told:#}");
    let best = &measured[told["best"].as_u64().unwrap() as usize];
    assert!(best["rate"].as_f64().unwrap() > 0.0, "{told:#}");
    let held = best["points"].as_array().unwrap().iter().find(|p| p["offered"] == best["rate"]);
    assert!(held.unwrap()["in_time"].as_f64().unwrap() >= 0.99, "{held:?}");
    // Infinitely many times as much as nothing has no number in JSON.
    assert_eq!(told["gain"], json!([null, null, null]));
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("m, 2 CPUs"), "{drawn}");

    assert_eq!(told["written"], toml.to_str().unwrap());
    let after = std::fs::read_to_string(&toml).unwrap();
    assert!(after.contains("# far too long") && after.contains("# by hand"), "{after}");
    let spec = ModelSpecFile::read(&model, None).unwrap();
    let setting = &best["setting"];
    // Else one that comes alone would miss the objective.
    assert!(setting["max_queue_delay_ms"].as_f64().unwrap() <= 5.0, "{setting}");
    assert_eq!(json!(spec.engine), setting["engine"]);
    assert_eq!(json!(spec.threads), setting["threads"]);
    assert_eq!(json!(spec.batching.instances), setting["instances"]);
    assert_eq!(json!(spec.batching.max_batch), setting["max_batch"]);
    assert_eq!(json!(spec.batching.max_queue_delay_ms), setting["max_queue_delay_ms"]);
    assert_eq!(spec.slo.unwrap().to_string(), "p99=50ms");
    let server = Server::start(dir.path().to_str().unwrap());
    let (row, twice): (Vec<_>, Vec<_>) = (0..N).map(|i| (i as f32, 2.0 * i as f32)).unzip();
    let asked = json!({ "instances": [row] }).to_string();
    let (status, body) = server.post("/v1/models/m:predict", "application/json", asked.as_bytes());
    assert_eq!(status, 200, "{}", body["error"]);
    assert!(body == json!({ "predictions": [twice] }));
}
