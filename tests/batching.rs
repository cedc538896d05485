//! Objectives, shares and the load, at the doors.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::onnx::affine;
use crate::support::{Server, agent};

/// A model whose runs take `delay_ms` more, once the first sixteen are done.
fn model(root: &Path, name: &str, delay_ms: u64, toml: &str) {
    let version = root.join(name).join("1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(version.join("model.onnx"), affine(1, 1, &[2.0])).unwrap();
    std::fs::write(version.join("faults.json"), format!("{{\"delay_ms\": {delay_ms}}}")).unwrap();
    let toml = format!("engine = \"faults\"\n{toml}\n[batching]\nmax_batch = 1\n");
    std::fs::write(root.join(name).join("model.toml"), toml).unwrap();
}

/// Status, `Retry-After`, body, and how long it took.
fn ask(agent: &ureq::Agent, server: &Server, model: &str) -> (u16, Option<u64>, Value, Duration) {
    let start = Instant::now();
    let url = server.url(&format!("/v1/models/{model}:predict"));
    let mut response = agent.post(url).send_json(json!({ "instances": [[1.0]] })).unwrap();
    let after = response.headers().get("retry-after");
    let after = after.map(|a| a.to_str().unwrap().parse().unwrap());
    let body = response.body_mut().read_json().unwrap();
    (response.status().as_u16(), after, body, start.elapsed())
}

fn figure(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|l| l.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name}: {metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn an_objective_is_kept_by_refusing_and_the_load_tells_of_what_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "m", 40, "slo = \"p99=150ms\"");
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--compute-threads=1"]);
    // So many that the sixteen quick runs are forgotten, also where few of what comes below are answered.
    (0..90).for_each(|_| assert_eq!(ask(&agent(), &server, "m").0, 200));
    let refused = AtomicUsize::new(0);
    let answered = std::thread::scope(|scope| {
        let client = || {
            let agent = agent();
            let one = |_| {
                let (status, after, body, took) = ask(&agent, &server, "m");
                if status == 200 {
                    return Some(took);
                }
                assert_eq!((status, after.is_some()), (503, true), "{body}");
                let error = body["error"].as_str().unwrap();
                assert!(error.contains("and miss its model's objective"), "{error}");
                refused.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
                None
            };
            (0..30).filter_map(one).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect::<Vec<_>>()
    });
    let refused = refused.into_inner();
    assert!(refused > 50 && answered.len() > 10, "{refused} refused, {} answered", answered.len());
    // On a machine that does other things, too.
    let late = answered.iter().filter(|took| **took > Duration::from_millis(250)).count();
    assert!(late * 10 <= answered.len(), "{late} of {}: {answered:?}", answered.len());
    let metrics = server.text("/metrics");
    let of = |name: &str| figure(&metrics, name);
    assert_eq!(of("ocelli_rejected_total{model=\"m\",reason=\"slo\""), refused as f64);
    let cost = of("ocelli_batch_cost_seconds{model=\"m\",part=\"fixed\"")
        + of("ocelli_batch_cost_seconds{model=\"m\",part=\"row\"");
    assert!((0.035..0.2).contains(&cost), "{cost}");
    assert!(of("ocelli_load ") > 1.0, "{metrics}");
    assert_eq!(of("ocelli_load "), of("ocelli_model_load{model=\"m\"}"));
    let told: Value =
        serde_json::from_str(&server.text("/autoscale?target=0.5&replicas=2")).unwrap();
    let (load, ratio) = (told["load"].as_f64().unwrap(), told["ratio"].as_f64().unwrap());
    assert!(load > 0.5 && (ratio - load / 0.5).abs() < 1e-9, "{told}");
    assert_eq!(told["replicas"], (2.0 * ratio).ceil());
    assert!(told["parts"]["refused"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!((&told["models"][0]["model"], &told["compute_threads"]), (&json!("m"), &json!(1)));
    assert_eq!(agent().get(server.url("/autoscale?target=0")).call().unwrap().status(), 400);
}

#[test]
fn a_light_model_does_not_wait_for_the_queue_of_a_heavy_one() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "heavy", 40, "");
    model(dir.path(), "light", 1, "weight = 2.0");
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--compute-threads=1"]);
    let done = AtomicBool::new(false);
    let mut took = std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let agent = agent();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(ask(&agent, &server, "heavy").0, 200);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(1500));
        let agent = agent();
        let took: Vec<_> = (0..20).map(|_| ask(&agent, &server, "light").3).collect();
        done.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    // It waits for the one batch that runs; by age it would wait for fifteen, which is 600 ms.
    assert!(took[10] < Duration::from_millis(200), "{took:?}");
}
