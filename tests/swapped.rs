//! Ten thousand mixed requests at once: each gets its own answer, whole and to the last bit.

use std::path::Path;
use std::sync::Arc;

use ocelli::engine::{self, Batch, Model, ModelFile};
use ocelli::tensor::Tensor;
use serde_json::{Value, json};

use crate::support::{MODELS, PREDICT, Server, agent, floats, onnx, photo, put, reference};

const THREADS: usize = 16;
const REQUESTS: usize = 10_000;

/// The engine alone: the reference.
struct Alone(Arc<dyn Model>);

impl Alone {
    fn load(bytes: &[u8]) -> Alone {
        let file = ModelFile { path: Path::new("model.onnx"), bytes: bytes.to_vec().into() };
        let engine = engine::Engines::embedded().reference().clone();
        Alone(engine::load(engine.as_ref(), &file, &engine::LoadOptions::default()).unwrap())
    }

    /// Every output of every row, each row run by itself.
    fn run(&self, rows: &[Vec<f32>], whole: bool) -> Vec<Vec<f32>> {
        let run = |rows: &[Vec<f32>]| {
            let inputs = self.0.signature().inputs.len();
            let width = rows[0].len() / inputs;
            let input = |i: usize| {
                let flat: Vec<f32> =
                    rows.iter().flat_map(|r| r[i * width..][..width].to_vec()).collect();
                Tensor::from_f32(vec![rows.len(), width], &flat).unwrap()
            };
            let tensors: Vec<Tensor> = (0..inputs).map(input).collect();
            let outputs = self.0.run(&Batch::of(&tensors)).unwrap();
            outputs.iter().flat_map(|o| o.to_f32().unwrap()).collect()
        };
        if whole {
            return vec![run(rows)];
        }
        rows.iter().map(|row| run(std::slice::from_ref(row))).collect()
    }
}

/// Small, reproducible, and different for every request.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn rows(&mut self, rows: usize, width: usize) -> Vec<Vec<f32>> {
        let mut number = || (self.next() % 20_001) as f32 / 100.0 - 100.0;
        (0..rows).map(|_| (0..width).map(|_| number()).collect()).collect()
    }
}

#[test]
fn ten_thousand_mixed_requests_get_their_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(0x0CE1);
    let weights = random.rows(1, 24 * 10).remove(0);
    let models = [
        ("affine", onnx::affine(24, 10, &weights)),
        ("one", onnx::relu_of_one(24)),
        ("two", onnx::sum_and_difference(12)),
        ("sums", onnx::column_sums(24)),
    ];
    models.iter().for_each(|(name, bytes)| put(dir.path(), name, 1, bytes));
    let demo = Path::new(MODELS).join("efficientnet_lite0");
    std::os::unix::fs::symlink(demo, dir.path().join("efficientnet_lite0")).unwrap();
    let alone: Vec<(&str, Alone)> =
        models.iter().map(|(name, bytes)| (*name, Alone::load(bytes))).collect();
    let photos = ["chelsea.jpg", "coffee.jpg"].map(|name| {
        let logits = floats(&reference(name)["outputs"][0]);
        (photo(name), logits)
    });
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--max-queue-rows=4096"]);

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (server, alone, photos) = (&server, &alone, &photos);
            scope.spawn(move || {
                let agent = agent();
                let mut random = Random(thread as u64 + 1);
                for i in 0..REQUESTS / THREADS {
                    if i % 40 == 0 {
                        let (photo, logits) = &photos[random.next() as usize % 2];
                        let path = format!("{PREDICT}?output=tensors");
                        let (status, body) = server.post(&path, "image/jpeg", photo);
                        assert_eq!(status, 200, "{body}");
                        assert_eq!(floats(&body["predictions"][0]), *logits);
                        continue;
                    }
                    let (name, model) = &alone[random.next() as usize % alone.len()];
                    let count = 1 + random.next() as usize % 11;
                    let rows = random.rows(count, 24);
                    let whole = *name == "sums";
                    let request = match *name {
                        "two" => {
                            let row = |r: &Vec<f32>| json!({ "b": r[12..], "a": r[..12] });
                            json!({ "instances": rows.iter().map(row).collect::<Vec<_>>() })
                        }
                        "sums" => json!({ "inputs": rows }),
                        _ => json!({ "instances": rows }),
                    };
                    let path = format!("/v1/models/{name}:predict");
                    let (status, _, answer) = server.ask(&agent, &path, &request);
                    assert_eq!(status, 200, "{name}: {answer}");
                    assert_eq!(flat(name, &answer), model.run(&rows, whole), "{name} {request}");
                }
            });
        }
    });
    let metrics = server.text("/metrics");
    let counted = |model: &str| {
        let line =
            format!("ocelli_requests_total{{code=\"200\",model=\"{model}\",version=\"1\"}} ");
        let rest = metrics.lines().find_map(|l| l.strip_prefix(&line)).unwrap();
        rest.parse::<usize>().unwrap()
    };
    let all: usize =
        ["affine", "one", "two", "sums", "efficientnet_lite0"].iter().map(|m| counted(m)).sum();
    assert_eq!(all, REQUESTS);
}

/// The numbers of an answer, row by row.
fn flat(name: &str, answer: &Value) -> Vec<Vec<f32>> {
    if name == "sums" {
        return vec![floats(&answer["outputs"])];
    }
    let row = |row: &Value| match name {
        "two" => [floats(&row["sum"]), floats(&row["difference"])].concat(),
        _ => floats(row),
    };
    answer["predictions"].as_array().unwrap().iter().map(row).collect()
}
