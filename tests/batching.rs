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

/// How long each of twenty `light` ones took beside so many clients with `heavy` ones, which all are answered, once these have
/// been at it for a while; the shortest first.
fn beside(
    (clients, heavy): (usize, impl Fn(&ureq::Agent) -> u16 + Sync),
    a_while: Duration,
    light: impl Fn(&ureq::Agent) -> Duration,
) -> Vec<Duration> {
    let done = AtomicBool::new(false);
    let mut took = std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let agent = agent();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(heavy(&agent), 200);
                }
            });
        }
        std::thread::sleep(a_while);
        let agent = agent();
        let took: Vec<_> = (0..20).map(|_| light(&agent)).collect();
        done.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    took
}

#[test]
fn a_light_model_does_not_wait_for_the_queue_of_a_heavy_one() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "heavy", 40, "");
    model(dir.path(), "light", 1, "weight = 2.0");
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--compute-threads=1"]);
    let heavy = |agent: &ureq::Agent| ask(agent, &server, "heavy").0;
    let took =
        beside((16, heavy), Duration::from_millis(1500), |agent| ask(agent, &server, "light").3);
    // It waits for the one batch that runs; by age it would wait for fifteen, which is 600 ms.
    assert!(took[10] < Duration::from_millis(200), "{took:?}");
}

/// A photo that takes long to decode, and a model that has little to do.
fn photo(sides: (u32, u32)) -> Vec<u8> {
    let (mut bytes, mut noise) = (Vec::new(), 1_u32);
    let picture = image::RgbImage::from_fn(sides.0, sides.1, |x, y| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(x / 8) as u8, (y / 8) as u8, (noise >> 28) as u8])
    });
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    picture.write_with_encoder(encoder).unwrap();
    bytes
}

/// A model that takes photos.
fn photographed(root: &Path, name: &str, slo: &str) {
    let version = root.join(name).join("1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::copy("tests/data/fashion/fashion_student_plain.onnx", version.join("model.onnx"))
        .unwrap();
    let toml = format!("{slo}\n[input]\nkind = \"image\"\nsize = [28, 28]\ncolour = \"gray\"\n");
    std::fs::write(root.join(name).join("model.toml"), toml).unwrap();
}

/// Status, and how long it took.
fn send(agent: &ureq::Agent, server: &Server, model: &str, photo: &[u8]) -> (u16, Duration) {
    let start = Instant::now();
    let request = agent.post(server.url(&format!("/v1/models/{model}:predict")));
    let response = request.header("content-type", "image/jpeg").send(photo).unwrap();
    (response.status().as_u16(), start.elapsed())
}

#[test]
fn a_light_models_photos_do_not_wait_for_all_of_a_heavy_ones() {
    let dir = tempfile::tempdir().unwrap();
    ["heavy", "light"].iter().for_each(|name| photographed(dir.path(), name, ""));
    let flags = ["--compute-threads=1", "--decode-threads=1"];
    let server = Server::start_with(dir.path().to_str().unwrap(), &flags);
    let (large, small) = (photo((2400, 1600)), photo((64, 64)));
    let began = Instant::now();
    (0..5).for_each(|_| assert_eq!(send(&agent(), &server, "heavy", &large).0, 200));
    let each = began.elapsed() / 5;
    let heavy = |agent: &ureq::Agent| send(agent, &server, "heavy", &large).0;
    let took = beside((24, heavy), each * 24, |agent| {
        let (status, took) = send(agent, &server, "light", &small);
        assert_eq!(status, 200);
        took
    });
    // It waits for the one that is being decoded; by age it would wait for some twenty.
    assert!(took[10] < each * 6, "{took:?}, where a heavy one takes {each:?}");
}

#[test]
fn decoding_counts_as_load_and_what_would_wait_too_long_for_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    photographed(dir.path(), "m", "slo = \"p99=400ms\"");
    let flags = ["--compute-threads=1", "--decode-threads=1"];
    let server = Server::start_with(dir.path().to_str().unwrap(), &flags);
    let photo = photo((3000, 2000));
    let send = |agent: &ureq::Agent| send(agent, &server, "m", &photo);
    let load = || figure(&server.text("/metrics"), "ocelli_load ");
    let began = Instant::now();
    (0..20).for_each(|_| assert_eq!(send(&agent()).0, 200));
    let (one, each) = (load(), began.elapsed() / 20);
    // Three times as many as can be answered in time, however fast the machine is.
    let clients = (Duration::from_millis(1200).div_duration_f64(each) as usize).clamp(24, 400);
    assert!((0.2..1.3).contains(&one), "one caller at a time keeps the decoder busy: {one}");
    let end = Instant::now() + Duration::from_secs(5);
    let answers = std::thread::scope(|scope| {
        let client = || {
            let (agent, mut answers) = (agent(), Vec::new());
            while Instant::now() < end {
                let answer = send(&agent);
                if answer.0 != 200 {
                    assert_eq!(answer.0, 503);
                    std::thread::sleep(Duration::from_millis(50));
                }
                answers.push(answer);
            }
            answers
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect::<Vec<_>>()
    });
    let flooded = load();
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.0 == 200);
    assert!(served.len() > 10 && refused.len() > 10, "{} {}", served.len(), refused.len());
    let late = served.iter().filter(|(_, took)| *took > Duration::from_millis(800)).count();
    assert!(late * 10 <= served.len(), "{late} of {}: {served:?}", served.len());
    assert!(flooded > 1.0 && flooded > 1.2 * one, "{flooded} after {one}");
    let told: Value = serde_json::from_str(&server.text("/autoscale")).unwrap();
    assert!(told["parts"]["refused"].as_f64().unwrap() > 0.2, "{told}");
}
