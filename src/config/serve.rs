//! Every setting of `ocelli serve`.

use clap::Args;

use super::{Address, ClientAuth, EngineArgs, Models, OptionalFile, SourceArgs, TrafficStore};
use crate::batcher::Limits;
use crate::telemetry::logs::LogFormat;

/// Settings of the server. A flag `--max-batch` is also `OCELLI_MAX_BATCH` in the environment
/// and `max_batch` in the TOML file.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Directory of models, <name>/<version>/model.onnx, or its URL: s3://, gs://, az://, https://
    /// (of a manifest), file://
    #[arg(long, env = "OCELLI_MODELS", default_value = "models", value_name = "DIR|URL")]
    pub models: Models,

    /// How models behind a URL are had.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Address of the REST API, or unix:PATH
    #[arg(long, env = "OCELLI_REST_ADDR", default_value = "0.0.0.0:8501", value_name = "ADDR")]
    pub rest_addr: Address,

    /// Address of the gRPC API, or unix:PATH
    #[arg(long, env = "OCELLI_GRPC_ADDR", default_value = "0.0.0.0:8500", value_name = "ADDR")]
    pub grpc_addr: Address,

    /// Serve gRPC on the REST address too, and on no other
    #[arg(long, env = "OCELLI_SINGLE_PORT", default_value_t = false, value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub single_port: bool,

    /// Address of the admin API, or unix:PATH
    #[arg(long, env = "OCELLI_ADMIN_ADDR", default_value = "127.0.0.1:8502", value_name = "ADDR")]
    pub admin_addr: Address,

    /// Where traffic is kept: file (in the model directory), file:DIR, memory, or
    /// kubernetes:[NAMESPACE/]CONFIGMAP, which replicas share
    #[arg(long, env = "OCELLI_TRAFFIC_STORE", default_value = "file", value_name = "STORE")]
    pub traffic_store: TrafficStore,

    /// URL of a Prometheus that scrapes all replicas: rollouts and experiments then go by all of them
    #[arg(long, env = "OCELLI_PROMETHEUS_URL", default_value = "", value_name = "URL")]
    pub prometheus_url: String,

    /// JSON lines file of every change of traffic, appended to
    #[arg(
        long,
        env = "OCELLI_AUDIT_LOG",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub audit_log: OptionalFile,

    /// Directory of a log of predictions as JSON lines; empty: none is kept. One process a directory
    #[arg(
        long,
        env = "OCELLI_PREDICTION_LOG",
        default_value = "",
        hide_default_value = true,
        value_name = "DIR"
    )]
    pub prediction_log: OptionalFile,

    /// Share of the predictions that are logged, from 0 to 1
    #[arg(long, env = "OCELLI_PREDICTION_LOG_SAMPLE", default_value_t = 0.01, value_name = "SHARE",
          value_parser = share)]
    pub prediction_log_sample: f64,

    /// Bytes of a file of the prediction log; then the next one is begun
    #[arg(long, env = "OCELLI_PREDICTION_LOG_BYTES", default_value_t = 64 << 20,
          value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub prediction_log_bytes: u64,

    /// Files of the prediction log that are kept
    #[arg(long, env = "OCELLI_PREDICTION_LOG_FILES", default_value_t = 16, value_name = "N",
          value_parser = at_least_one)]
    pub prediction_log_files: usize,

    /// Whether what was sent is logged too
    #[arg(long, env = "OCELLI_PREDICTION_LOG_INPUTS", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub prediction_log_inputs: bool,

    /// Bytes of model files, for each model, that are kept loaded only to be rolled back to
    #[arg(long, env = "OCELLI_WARM_BYTES", default_value_t = 4 << 30, value_name = "BYTES")]
    pub warm_bytes: u64,

    /// Bytes of model files that are loaded at most where models are loaded on demand (model.toml:
    /// load = "demand"): the idle one that was not used for longest makes room. Other models count and stay.
    /// 0 sets no bound
    #[arg(long, env = "OCELLI_MODEL_MEMORY_BYTES", default_value_t = 0, value_name = "BYTES")]
    pub model_memory_bytes: u64,

    /// PEM file of the server's certificate and its chain; REST and gRPC then speak TLS over TCP, and
    /// the admin API where it is not on the loopback address
    #[arg(
        long,
        env = "OCELLI_TLS_CERT",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub tls_cert: OptionalFile,

    /// PEM file of the certificate's private key
    #[arg(
        long,
        env = "OCELLI_TLS_KEY",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub tls_key: OptionalFile,

    /// PEM file of the authorities that sign clients' certificates
    #[arg(
        long,
        env = "OCELLI_TLS_CLIENT_CA",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub tls_client_ca: OptionalFile,

    /// Whether TLS clients show a certificate
    #[arg(long, env = "OCELLI_TLS_CLIENT_AUTH", default_value = "off", value_enum)]
    pub tls_client_auth: ClientAuth,

    /// TOML file of API keys; without it everyone may do everything. `ocelli keys new` makes one
    #[arg(
        long,
        env = "OCELLI_KEYS_FILE",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub keys_file: OptionalFile,

    /// Ask for a key at /metrics too
    #[arg(long, env = "OCELLI_PROTECT_METRICS", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub protect_metrics: bool,

    /// Compute threads: batches that run at once. 0 plans them from the CPU limit
    #[arg(long, env = "OCELLI_COMPUTE_THREADS", default_value_t = 0, value_name = "N")]
    pub compute_threads: usize,

    /// Threads an engine uses within one batch
    #[arg(long, env = "OCELLI_INTRA_OP_THREADS", default_value_t = 1, value_name = "N",
          value_parser = at_least_one)]
    pub intra_op_threads: usize,

    /// Where engines are.
    #[command(flatten)]
    pub engines: EngineArgs,

    /// Threads that decode images. 0 plans them from the CPU limit
    #[arg(long, env = "OCELLI_DECODE_THREADS", default_value_t = 0, value_name = "N")]
    pub decode_threads: usize,

    /// Threads for sockets and protocols. 0 plans them from the CPU limit
    #[arg(long, env = "OCELLI_IO_THREADS", default_value_t = 0, value_name = "N")]
    pub io_threads: usize,

    /// Rows of a batch at most, where model.toml is silent
    #[arg(long, env = "OCELLI_MAX_BATCH", default_value_t = Limits::DEFAULT.max_batch, value_name = "ROWS",
          value_parser = at_least_one)]
    pub max_batch: usize,

    /// Milliseconds an idle engine may wait for a fuller batch, where model.toml is silent
    #[arg(long, env = "OCELLI_MAX_QUEUE_DELAY_MS", default_value_t = 0.0, value_name = "MS",
          value_parser = delay_ms)]
    pub max_queue_delay_ms: f64,

    /// Rows that may wait for a version at most, where model.toml is silent
    #[arg(long, env = "OCELLI_MAX_QUEUE_ROWS", default_value_t = Limits::DEFAULT.max_queue_rows,
          value_name = "ROWS", value_parser = at_least_one)]
    pub max_queue_rows: usize,

    /// Milliseconds a request may take where it does not say (x-request-timeout-ms)
    #[arg(long, env = "OCELLI_REQUEST_TIMEOUT_MS", default_value_t = 30_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub request_timeout_ms: u64,

    /// Bytes of a request body at most, after decompression
    #[arg(long, env = "OCELLI_MAX_BODY_BYTES", default_value_t = 64 << 20, value_name = "BYTES",
          value_parser = at_least_one)]
    pub max_body_bytes: usize,

    /// Bytes of request bodies held at a time; more are refused
    #[arg(long, env = "OCELLI_MAX_BUFFERED_BYTES", default_value_t = 1 << 30, value_name = "BYTES",
          value_parser = at_least_one)]
    pub max_buffered_bytes: usize,

    /// Pixels of an image at most, read from its header before it is decoded
    #[arg(long, env = "OCELLI_MAX_IMAGE_PIXELS", default_value_t = 50_000_000, value_name = "N")]
    pub max_image_pixels: u64,

    /// Connections at most; more wait to be accepted
    #[arg(long, env = "OCELLI_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "N",
          value_parser = at_least_one)]
    pub max_connections: usize,

    /// Milliseconds an HTTP/1 connection may be without a request: longer than any balancer in front keeps
    /// it, so that none sends a request into its closing
    #[arg(long, env = "OCELLI_HTTP1_IDLE_MS", default_value_t = 75_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1000..=3_600_000))]
    pub http1_idle_ms: u64,

    /// Milliseconds between HTTP/2 pings; a client that does not answer is cut off. 0 sends none
    #[arg(long, env = "OCELLI_HTTP2_KEEPALIVE_MS", default_value_t = 30_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    pub http2_keepalive_ms: u64,

    /// Milliseconds after which a connection is closed politely, give or take a tenth, so that
    /// clients spread over new replicas. 0 is never
    #[arg(long, env = "OCELLI_MAX_CONNECTION_AGE_MS", default_value_t = 0, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(0..=604_800_000))]
    pub max_connection_age_ms: u64,

    /// Requests at a time on one HTTP/2 connection
    #[arg(long, env = "OCELLI_MAX_CONCURRENT_STREAMS", default_value_t = 256, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_concurrent_streams: u32,

    /// Milliseconds between looks at the model directory, beside being told of changes
    #[arg(long, env = "OCELLI_POLL_MS", default_value_t = 1000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub poll_ms: u64,

    /// Milliseconds a model's files must rest before they count as whole
    #[arg(long, env = "OCELLI_SETTLE_MS", default_value_t = 1000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub settle_ms: u64,

    /// Whether load, unload and reload may be asked on the public ports
    #[arg(long, env = "OCELLI_ALLOW_CONTROL", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub allow_control: bool,

    /// Milliseconds to go on serving, not ready, after SIGTERM: until balancers have noticed
    #[arg(long, env = "OCELLI_LAME_DUCK_MS", default_value_t = 5000, value_name = "MS")]
    pub lame_duck_ms: u64,

    /// Milliseconds that requests in flight get to finish after the lame duck
    #[arg(long, env = "OCELLI_GRACE_MS", default_value_t = 30_000, value_name = "MS")]
    pub grace_ms: u64,

    /// Record metrics on the request path
    #[arg(long, env = "OCELLI_METRICS", default_value_t = true, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub metrics: bool,

    /// Where spans go: an OTLP collector's gRPC address, such as http://localhost:4317. Empty: nowhere
    #[arg(long, env = "OCELLI_OTLP_ENDPOINT", default_value = "", value_name = "URL")]
    pub otlp_endpoint: String,

    /// Share of requests that are traced where the caller has not decided, from 0 to 1
    #[arg(long, env = "OCELLI_TRACE_RATIO", default_value_t = 1.0, value_name = "SHARE",
          value_parser = share)]
    pub trace_ratio: f64,

    /// How log lines look
    #[arg(long, env = "OCELLI_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, or `info,ocelli=debug`
    #[arg(long, env = "OCELLI_LOG_LEVEL", default_value = "info", value_name = "FILTER")]
    pub log_level: String,
}

impl ServeConfig {
    /// Whether others than this machine reach the admin API.
    pub fn is_admin_open(&self) -> bool {
        matches!(&self.admin_addr, Address::Tcp(address) if !address.ip().is_loopback())
    }

    /// What is wrong with the settings together, and what to do.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let [cert, key, ca, keys] =
            [&self.tls_cert, &self.tls_key, &self.tls_client_ca, &self.keys_file]
                .map(|file| file.path().is_some());
        let asked = self.tls_client_auth != ClientAuth::Off;
        match () {
            () if cert && !key => Some("--tls-cert is given without --tls-key: give both"),
            () if key && !cert => Some("--tls-key is given without --tls-cert: give both"),
            () if (ca || asked) && !cert => {
                Some("clients show certificates only over TLS: give --tls-cert and --tls-key too")
            }
            () if asked && !ca => {
                Some("--tls-client-auth needs --tls-client-ca: name the file of who signs clients")
            }
            () if ca && !asked => Some(
                "--tls-client-ca is given and clients are not asked: set --tls-client-auth to \
                 optional or required",
            ),
            () if self.is_admin_open() && !keys && self.tls_client_auth != ClientAuth::Required => {
                Some(
                    "--admin-addr is open to the network: give --keys-file, or TLS with \
                     --tls-client-auth required",
                )
            }
            () if self.protect_metrics && !keys => {
                Some("--protect-metrics needs keys: name their file with --keys-file")
            }
            () => self.source.contradiction(&self.models),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("must be a whole number".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must lie between 0 and 1".to_owned()),
    }
}

fn delay_ms(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ms) if (0.0..=60_000.0).contains(&ms) => Ok(ms),
        _ => Err("must lie between 0 and 60000".to_owned()),
    }
}
