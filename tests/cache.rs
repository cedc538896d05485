//! Answers that are kept, by whatever door they are asked for.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{MODELS, PREDICT, Server, agent, onnx, photo, put, reference};

const SUM: &str = "/v1/models/sum:predict";

fn scratch(toml: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    put(&models, "sum", 1, &onnx::affine(2, 1, &[1.0, 1.0]));
    std::fs::write(models.join("sum/model.toml"), toml).unwrap();
    (dir, models)
}

fn start(models: &Path) -> Server {
    Server::start(models.to_str().unwrap())
}

/// What is told of the cache, and the answer.
fn ask(server: &Server, path: &str, body: &Value, headers: &[(&str, &str)]) -> (String, Value) {
    let mut request = agent().post(server.url(path)).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body.to_string()).unwrap();
    let told = response.headers().get("x-ocelli-cache");
    let told = told.map_or(String::new(), |v| v.to_str().unwrap().to_owned());
    (told, response.body_mut().read_json().unwrap())
}

/// The values of a family's series, by what their labels hold.
fn series(server: &Server, family: &str) -> BTreeMap<String, f64> {
    let text = server.text("/metrics");
    let lines = text.lines().filter_map(|line| line.strip_prefix(family)?.split_once(' '));
    lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

fn counted(server: &Server, result: &str) -> f64 {
    let all = series(server, "ocelli_cache_requests_total");
    all.iter().find(|(labels, _)| labels.contains(result)).map_or(0.0, |(_, value)| *value)
}

fn computed(server: &Server) -> f64 {
    series(server, "ocelli_rows_total").values().sum()
}

#[test]
fn the_same_question_is_answered_from_what_is_kept_unless_it_wants_otherwise() {
    let (_dir, models) = scratch("[cache]\nmax_bytes = 1000000\n");
    let server = start(&models);
    let rows = computed(&server);
    let body = json!({ "instances": [[1, 2]] });
    let answer = json!({ "predictions": [3.0] });
    let first = ask(&server, SUM, &body, &[]);
    assert_eq!(first.0, "miss");
    assert_eq!(ask(&server, SUM, &body, &[]), ("hit".to_owned(), first.1.clone()));
    // The same numbers by another protocol are the same question.
    let v2 =
        json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] }] });
    let (told, v2_answer) = ask(&server, "/v2/models/sum/infer", &v2, &[]);
    assert_eq!((told.as_str(), &v2_answer["outputs"][0]["data"]), ("hit", &json!([3.0])));
    assert_eq!(computed(&server) - rows, 1.0);
    for fresh in ["no-cache", "max-age=0, No-Store"] {
        let (told, got) = ask(&server, SUM, &body, &[("cache-control", fresh)]);
        assert_eq!((told.as_str(), &got), ("", &first.1));
    }
    assert_eq!(computed(&server) - rows, 3.0);
    let (told, other) = ask(&server, SUM, &json!({ "instances": [[1, 4]] }), &[]);
    assert_eq!(told, "miss");
    assert_ne!(other, answer);
    assert_eq!(
        [counted(&server, "hit"), counted(&server, "miss"), counted(&server, "skipped")],
        [2.0, 2.0, 2.0]
    );
    assert!(series(&server, "ocelli_cache_bytes").values().all(|bytes| *bytes > 0.0));
    let stats: Value = serde_json::from_str(&server.text("/v2/models/sum/stats")).unwrap();
    let stats = &stats["model_stats"][0]["inference_stats"];
    assert_eq!(
        (&stats["cache_hit"]["count"], &stats["cache_miss"]["count"]),
        (&json!(2), &json!(2))
    );
    // Errors are told, and not kept.
    let wrong = json!({ "instances": [[1, 2, 3]] });
    for _ in 0..2 {
        let (told, got) = ask(&server, SUM, &wrong, &[]);
        assert!(told.is_empty() && got["error"].is_string(), "{told} {got}");
    }
}

#[test]
fn many_who_ask_the_same_at_once_cost_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let model = models.join("efficientnet_lite0");
    std::fs::create_dir_all(&model).unwrap();
    for entry in std::fs::read_dir(format!("{MODELS}/efficientnet_lite0")).unwrap() {
        let path = entry.unwrap().path();
        let to = model.join(path.file_name().unwrap());
        if path.is_dir() {
            std::os::unix::fs::symlink(std::fs::canonicalize(path).unwrap(), to).unwrap();
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
    let toml = std::fs::read_to_string(model.join("model.toml")).unwrap();
    std::fs::write(model.join("model.toml"), format!("{toml}\n[cache]\n")).unwrap();
    let server = start(&models);
    let rows = computed(&server);
    let (image, expected) = (photo("chelsea.jpg"), reference("chelsea.jpg"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (status, body) = server.post(PREDICT, "image/jpeg", &image);
                assert_eq!((status, &body["predictions"][0]), (200, &expected["predictions"]));
            });
        }
    });
    assert_eq!(computed(&server) - rows, 1.0);
    assert_eq!([counted(&server, "hit"), counted(&server, "miss")], [7.0, 1.0]);
}

#[test]
fn who_had_too_little_time_leaves_it_to_one_of_those_who_wait() {
    // A row is held back for longer than the first caller has.
    let (_dir, models) =
        scratch("[cache]\n[batching]\nrule = \"all\"\nmax_batch = 8\nmax_queue_delay_ms = 1500\n");
    let server = start(&models);
    let (rows, body) = (computed(&server), json!({ "instances": [[1, 2]] }));
    std::thread::scope(|scope| {
        let hurried = scope.spawn(|| ask(&server, SUM, &body, &[("x-request-timeout-ms", "400")]));
        server.wait_for("/metrics", |text| {
            text.contains("ocelli_queue_rows{model=\"sum\",version=\"1\"} 1")
        });
        let others: Vec<_> =
            (0..4).map(|_| scope.spawn(|| ask(&server, SUM, &body, &[]))).collect();
        let (_, late) = hurried.join().unwrap();
        assert!(late["error"].as_str().unwrap().contains("no answer within"), "{late}");
        let mut told: Vec<_> = others.into_iter().map(|other| other.join().unwrap().0).collect();
        told.sort_unstable();
        assert_eq!(told, ["hit", "hit", "hit", "miss"]);
    });
    assert_eq!(computed(&server) - rows, 1.0);
    assert_eq!([counted(&server, "hit"), counted(&server, "miss")], [3.0, 1.0]);
}

#[test]
fn what_is_kept_is_answered_though_the_queue_is_full() {
    // A row is held back for a fuller batch, and so fills the queue.
    let (_dir, models) = scratch(
        "[cache]\n[batching]\nrule = \"all\"\nmax_batch = 8\nmax_queue_delay_ms = 1500\n\
         max_queue_rows = 1\n",
    );
    let server = start(&models);
    let of = |x: i32| json!({ "instances": [[1, x]] });
    let kept = ask(&server, SUM, &of(2), &[]);
    assert_eq!(kept.0, "miss");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask(&server, SUM, &of(3), &[]));
        server.wait_for("/metrics", |text| {
            text.contains("ocelli_queue_rows{model=\"sum\",version=\"1\"} 1")
        });
        let (told, answer) = ask(&server, SUM, &of(2), &[]);
        assert_eq!((told.as_str(), &answer), ("hit", &kept.1));
        for headers in [&[][..], &[("cache-control", "no-cache")]] {
            let unknown = if headers.is_empty() { 4 } else { 2 };
            let (_, refused) = ask(&server, SUM, &of(unknown), headers);
            let error = refused["error"].as_str().unwrap();
            assert!(error.contains("the queue is full (1 of 1 rows)"), "{error}");
        }
        assert_eq!(waits.join().unwrap().0, "miss");
    });
}

#[test]
fn a_version_that_is_replaced_takes_its_answers_with_it() {
    let (_dir, models) = scratch("[cache]\n");
    let server = start(&models);
    let body = json!({ "instances": [[1, 2]] });
    let (_, before) = ask(&server, SUM, &body, &[]);
    assert_eq!(ask(&server, SUM, &body, &[]).0, "hit");
    let aside = models.join(".new");
    std::fs::write(&aside, onnx::affine(2, 1, &[1.0, 2.0])).unwrap();
    std::fs::rename(aside, models.join("sum/1/model.onnx")).unwrap();
    let started = std::time::Instant::now();
    loop {
        let (_, now) = ask(&server, SUM, &body, &[]);
        if now != before {
            break;
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "it was never replaced");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // And a model that has no cache any more keeps nothing.
    std::fs::write(models.join("sum/model.toml"), "").unwrap();
    server.wait_for("/metrics", |text| {
        text.contains("ocelli_cache_bytes{model=\"sum\",version=\"1\"} 0")
    });
    assert_eq!(ask(&server, SUM, &body, &[]).0, "");
}
