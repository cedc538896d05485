//! The command line, and what it makes: a [`Plan`].

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use hyper::Uri;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use crate::arrivals::{Pattern, Phase, parse_phases, parse_trace};

const EXAMPLES: &str = "\
Examples:
  Eight clients, each with one request under way, for ten seconds:
    loadtest run http://127.0.0.1:8501/v1/models/efficientnet_lite0:predict \\
      --body models/photos/chelsea.jpg --concurrency 8 --duration 10s
  Fifty requests a second by the clock, whether or not the answers keep up:
    loadtest run URL --body photo.jpg --rate 50 --duration 30s --json report.json
  Calm, a flood, calm again:
    loadtest run URL --body photo.jpg --phases 'rate=30,10s;rate=640,30s;rate=30,10s'
  Thirty-two gRPC calls under way over two connections:
    loadtest run --grpc http://127.0.0.1:8500/inference.GRPCInferenceService/ModelInfer \\
      --body request.bin --concurrency 32 --connections 2";

/// Load for HTTP and gRPC inference servers
#[derive(clap::Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Send requests and tell how they were answered
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Measure Ocelli beside a peer, in turns; the script loadtest/compare.py
    #[command(disable_help_flag = true)]
    Compare(ScriptArgs),
    /// Simulate autoscaling by ocelli_load, CPU and requests a second; the script loadtest/simulate.py
    #[command(disable_help_flag = true)]
    Simulate(ScriptArgs),
}

/// Arguments of a script.
#[derive(clap::Args)]
pub struct ScriptArgs {
    /// What the script is given; --help tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub given: Vec<std::ffi::OsString>,
}

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Where requests go; http only
    url: String,
    /// A file to send; several are sent in turn. Without one, GET is sent
    #[arg(long, value_name = "FILE")]
    body: Vec<PathBuf>,
    /// What the bodies are; guessed from the file's name if not given
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Another header, `name: value`
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// Call by gRPC: the URL's path is /package.Service/Method, each body is a message
    #[arg(long)]
    grpc: bool,
    /// gRPC: connections that calls share
    #[arg(long, value_name = "N", default_value_t = 1, requires = "grpc")]
    connections: usize,
    /// Closed loop: connections that each have one request under way
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["rate", "phases"])]
    concurrency: usize,
    /// Open loop: requests a second
    #[arg(long, value_name = "R", conflicts_with = "phases")]
    rate: Option<f64>,
    /// Open loop in phases: `rate=20,5s;rate=600,30s`
    #[arg(long, value_name = "PHASES")]
    phases: Option<String>,
    /// Open loop: poisson, uniform, or a file with one start in seconds a line
    #[arg(long, default_value = "poisson", value_name = "PATTERN")]
    arrivals: String,
    /// Seed of the arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to measure, after the warm-up
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long to send before anything counts
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    warmup: Duration,
    /// When to give a request up
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Open loop: requests under way at most; what would be more is counted as not sent
    #[arg(long, default_value_t = 2000, value_name = "N")]
    max_in_flight: usize,
    /// Tell how many successful answers took longer than that, from the intended start
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub slo: Option<Duration>,
    /// The server's process: its CPU time and memory are told too
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Write the whole report here, `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
    /// Allow another machine to be the target
    #[arg(long)]
    allow_remote: bool,
}

/// Everything a run needs.
pub struct Plan {
    /// Where the server is.
    pub address: SocketAddr,
    /// The path and query.
    pub uri: Uri,
    /// Sent with every request but for the content type.
    pub headers: HeaderMap,
    /// Sent in turn, each with its content type; empty for GET.
    pub bodies: Vec<(Bytes, HeaderValue)>,
    /// The connections that gRPC calls share, if the bodies are messages of such.
    pub grpc: Option<usize>,
    /// When requests start.
    pub load: Load,
    /// Not counted, before the first phase.
    pub warmup: Duration,
    /// When a request is given up.
    pub timeout: Duration,
    /// The server's process.
    pub server_pid: Option<u32>,
}

/// When requests start.
#[derive(Clone, Debug)]
pub enum Load {
    /// When the one before is answered.
    Closed {
        /// Connections.
        concurrency: usize,
        /// How long.
        lasts: Duration,
    },
    /// By the clock.
    Open {
        /// How arrivals are spread.
        pattern: Pattern,
        /// How many there are.
        phases: Vec<Phase>,
        /// The seed of their spread.
        seed: u64,
        /// Requests under way at most.
        max_in_flight: usize,
    },
}

impl RunArgs {
    /// Reads the files and checks what was asked.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let uri: Uri = self.url.parse().with_context(|| format!("`{}` is no URL", self.url))?;
        ensure!(uri.scheme_str() == Some("http"), "only http:// is spoken, got `{}`", self.url);
        let host = uri.host().context("the URL names no host")?;
        let port = uri.port_u16().unwrap_or(80);
        let address = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .with_context(|| format!("can't resolve {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        ensure!(
            address.ip().is_loopback() || self.allow_remote,
            "{host} is another machine: say --allow-remote if it is yours to load"
        );
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&format!("{host}:{port}"))?);
        for header in &self.header {
            let (name, value) =
                header.split_once(':').with_context(|| format!("`{header}` is no header"))?;
            headers.insert(name.parse::<HeaderName>()?, value.trim().parse()?);
        }
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).parse()?;
        Ok(Plan {
            address,
            uri: path,
            headers,
            bodies: self.bodies()?,
            grpc: self.grpc.then_some(self.connections.max(1)),
            load: self.load()?,
            warmup: self.warmup,
            timeout: self.timeout,
            server_pid: self.server_pid,
        })
    }

    fn bodies(&self) -> anyhow::Result<Vec<(Bytes, HeaderValue)>> {
        let read = |path: &PathBuf| {
            let bytes =
                std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
            let guessed = match path.extension().and_then(|e| e.to_str()) {
                Some("json") => "application/json",
                Some("jpg" | "jpeg") => "image/jpeg",
                Some("png") => "image/png",
                Some("webp") => "image/webp",
                _ => "application/octet-stream",
            };
            let kind = self.content_type.as_deref().unwrap_or(guessed);
            Ok((Bytes::from(bytes), HeaderValue::from_str(kind)?))
        };
        self.body.iter().map(read).collect()
    }

    fn load(&self) -> anyhow::Result<Load> {
        let phases = match (&self.phases, self.rate) {
            (Some(text), _) => parse_phases(text)?,
            (None, Some(rate)) => {
                ensure!(rate > 0.0 && rate.is_finite(), "--rate must be above 0, got {rate}");
                vec![Phase { rate, lasts: self.duration }]
            }
            (None, None) if matches!(self.arrivals.as_str(), "poisson" | "uniform") => {
                ensure!(self.concurrency > 0, "--concurrency must be at least 1");
                return Ok(Load::Closed { concurrency: self.concurrency, lasts: self.duration });
            }
            // A trace knows its own rate.
            (None, None) => vec![Phase { rate: 1.0, lasts: self.duration }],
        };
        ensure!(!phases.is_empty(), "--phases names no phase");
        let pattern = match self.arrivals.as_str() {
            "poisson" => Pattern::Poisson,
            "uniform" => Pattern::Uniform,
            file => {
                let text = std::fs::read_to_string(file).with_context(|| {
                    format!("--arrivals `{file}` is neither poisson, uniform, nor a file")
                })?;
                Pattern::Trace(parse_trace(&text).with_context(|| file.to_owned())?)
            }
        };
        Ok(Load::Open { pattern, phases, seed: self.seed, max_in_flight: self.max_in_flight })
    }
}
