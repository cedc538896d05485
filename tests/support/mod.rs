//! A server of the built binary on ports of its own, killed with its test.

pub mod allocations;
pub mod kubernetes;
pub mod onnx;
pub mod rig;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_ocelli");
pub const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");

/// The same on every machine, whatever engines are installed there.
pub const EMBEDDED: [(&str, &str); 3] = [
    ("OCELLI_ONNXRUNTIME_LIBRARY", "off"),
    ("OCELLI_OPENVINO_LIBRARY", "off"),
    ("OCELLI_ENGINE_CACHE", "off"),
];

pub const PREDICT: &str = "/v1/models/efficientnet_lite0:predict";

/// What the command line says of a photo: the reference that the server is held against.
pub fn reference(name: &str) -> Value {
    let model = format!("{MODELS}/efficientnet_lite0");
    let image = format!("{MODELS}/photos/{name}");
    let args = ["predict", &model, &image, "--json", "--tensors"];
    let out = Command::new(BINARY).envs(EMBEDDED).args(args).output();
    serde_json::from_slice::<Value>(&out.unwrap().stdout).unwrap()[0].take()
}

pub fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN) as f32).collect()
}

/// Puts a version into a repository in one step, as a careful person does.
pub fn put(root: &Path, model: &str, version: u64, onnx: &[u8]) {
    let aside = root.join(format!(".{model}-{version}"));
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::write(aside.join("model.onnx"), onnx).unwrap();
    std::fs::create_dir_all(root.join(model)).unwrap();
    std::fs::rename(aside, root.join(model).join(version.to_string())).unwrap();
}

pub struct Server {
    child: Child,
    rest: String,
    grpc: String,
    admin: String,
}

pub fn photo(name: &str) -> Vec<u8> {
    std::fs::read(format!("{MODELS}/photos/{name}")).unwrap()
}

pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(60))).build().into()
}

impl Server {
    /// Starts a server on ports the kernel chooses, and waits until it is ready.
    pub fn start(models: &str) -> Server {
        Server::start_with(models, &[])
    }

    /// As [`Server::start`], with more flags.
    pub fn start_with(models: &str, flags: &[&str]) -> Server {
        let any = "127.0.0.1:0";
        let mut child = Command::new(BINARY)
            .args(["serve", "--models", models, "--log-format=json"])
            .args(flags)
            // Weaker than flags, so that a test may say otherwise.
            .envs([("OCELLI_SETTLE_MS", "300"), ("OCELLI_POLL_MS", "100")])
            .envs(EMBEDDED)
            .envs(["REST", "GRPC", "ADMIN"].map(|door| (format!("OCELLI_{door}_ADDR"), any)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut rest, mut grpc, mut admin) = (String::new(), String::new(), String::new());
        for line in lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["message"] == "serving" {
                rest = format!("http://{}", line["rest"].as_str().unwrap());
                grpc = format!("http://{}", line["grpc"].as_str().unwrap());
                admin = format!("http://{}", line["admin"].as_str().unwrap());
            }
            if line["message"] == "ready" {
                break;
            }
        }
        assert!(!rest.is_empty(), "the server did not start");
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, rest, grpc, admin }
    }

    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let request = agent().post(format!("{}{path}", self.rest)).header("content-type", kind);
        let mut response = request.send(body).unwrap();
        assert!(response.headers().contains_key("x-request-id"));
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    /// A URL of the REST API.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.rest)
    }

    /// A URL of the gRPC API.
    pub fn grpc_url(&self, path: &str) -> String {
        format!("{}{path}", self.grpc)
    }

    /// A URL of the admin API.
    pub fn admin_url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// Resident bytes of the process.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends the process with no chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The JSON answer to JSON, and the version that gave it.
    pub fn ask(&self, agent: &ureq::Agent, path: &str, body: &Value) -> (u16, u64, Value) {
        let request = agent.post(self.url(path)).header("content-type", "application/json");
        let mut response = request.send(body.to_string()).unwrap();
        let version = response.headers().get("x-ocelli-model-version");
        let version = version.map_or(0, |v| v.to_str().unwrap().parse().unwrap());
        let status = response.status().as_u16();
        (status, version, response.body_mut().read_json().unwrap())
    }

    /// The version that answered an image.
    pub fn version_of(&self, path: &str, image: &[u8]) -> String {
        let request =
            agent().post(format!("{}{path}", self.rest)).header("content-type", "image/jpeg");
        let response = request.send(image).unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["x-ocelli-model-version"].to_str().unwrap().to_owned()
    }

    /// Status and Retry-After of an image that must be answered within `timeout_ms`.
    pub fn post_within(&self, path: &str, image: &[u8], timeout_ms: &str) -> (u16, Option<String>) {
        let request = agent().post(format!("{}{path}", self.rest));
        let request = request.header("content-type", "image/jpeg");
        let response = request.header("x-request-timeout-ms", timeout_ms).send(image).unwrap();
        let after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        (response.status().as_u16(), after)
    }

    /// Asks the server to stop, as Kubernetes does.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// How the server ended.
    pub fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn text(&self, path: &str) -> String {
        let mut response = agent().get(format!("{}{path}", self.rest)).call().unwrap();
        response.body_mut().read_to_string().unwrap()
    }

    pub fn wait_for(&self, path: &str, done: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !done(&self.text(path)) {
            assert!(start.elapsed() < Duration::from_secs(60), "{path}: {}", self.text(path));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `ocelli traffic`; its error is what it printed.
    pub fn traffic(&self, args: &[&str]) -> Result<String, String> {
        let out =
            Command::new(BINARY).args(["traffic", "--admin", &self.admin]).args(args).output();
        let out = out.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
