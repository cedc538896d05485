//! The composition root: plans threads, binds sockets, wires the rooms, and takes them down.

mod delivery;
mod doors;
mod files;
mod models;
mod plan;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use doors::{Addresses, Bound, Doors};
use models::ModelsDir;
use tokio::sync::watch;

pub use plan::ThreadPlan;

use crate::batcher::{Limits, Scheduler};
use crate::config::{Address, ServeConfig};
use crate::control::{Control, Publisher};
use crate::observe::prediction_log::{self, LogError, PredictionLog};
use crate::protocol::Bodies;
use crate::protocol::access::{Access, Rules};
use crate::protocol::http::Shared;
use crate::repository::choice::Memory;
use crate::repository::load::Loader;
use crate::repository::{Reconciler, ReconcilerSettings};
use crate::router::Router;
use crate::service::{Background, DecodePool, InferenceService};
use crate::source::Running;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracing;
use crate::vision::ImageLimits;

/// Pictures that may wait for a decoder, for each thread that decodes.
const DECODE_QUEUE: usize = 64;

/// Predictions that may wait to be logged.
const PREDICTION_QUEUE: usize = 1024;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be had.
    #[error(
        "can't listen on {address} ({source}); is another server running? choose another with {flag}"
    )]
    Bind {
        /// The address.
        address: Address,
        /// The setting.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such directory.
    #[error("there is no model directory `{0}`; name one with --models")]
    NoModels(String),
    /// Threads, metrics, certificates, keys.
    #[error("can't start: {0}")]
    Other(String),
}

/// A running server.
pub struct App {
    /// Where REST is served; the port is the real one if 0 was asked for.
    pub rest_addr: Address,
    /// Where gRPC is served.
    pub grpc_addr: Address,
    /// Where the admin API is served.
    pub admin_addr: Address,
    shared: Arc<Shared>,
    scheduler: Arc<Scheduler>,
    source: Option<Running>,
    reconciler: Reconciler,
    doors: Doors,
    lame_duck: Duration,
}

impl App {
    /// Starts serving. Models load in the background; `/readyz` tells when.
    pub async fn start(config: &ServeConfig) -> Result<App, StartError> {
        models::check(config)?;
        let doors = if config.single_port { 1 } else { 2 };
        files::raise_limit(config.max_connections.saturating_mul(doors) as u64);
        let access = config.keys_file.path().map(Access::start).transpose();
        let access = access.map_err(StartError::Other)?;
        let bound = Bound::bind(config).await?;

        let plan = ThreadPlan::of(config);
        tracing::info!(
            cpus = plan.cpus,
            compute = plan.compute,
            intra_op = plan.intra_op,
            decode = plan.decode,
            io = plan.io,
            "threads planned"
        );
        let metrics = Metrics::new(config.metrics).map_err(other)?;
        let models = ModelsDir::open(config, &metrics).await?;
        let scheduler = Scheduler::start(plan.threads(), metrics.clone()).map_err(other)?;
        let scheduler = Arc::new(scheduler);
        let router = Arc::new(Router::new());
        let publisher = Arc::new(Publisher::new(router.clone(), metrics.clone()));
        let control = delivery::open(config, &models.root, &publisher, &metrics).await?;
        let reconciler = Reconciler::start(
            settings(config, &plan, &models, &control),
            scheduler.clone(),
            publisher.clone(),
            metrics.clone(),
        )
        .map_err(other)?;
        let standing = models.standing.clone();
        let source = models.start(reconciler.waker())?;
        let waker = reconciler.waker();
        let (figures, held) = (control.figures.clone(), Arc::downgrade(&publisher));
        publisher.on_change(move |model| {
            if let Some(Ok(standing)) = held.upgrade().map(|p| p.standing(model)) {
                figures.look(model, &standing);
            }
            // Other versions may be wanted than were.
            waker.wake();
        });
        let limits =
            ImageLimits { max_pixels: config.max_image_pixels, max_bytes: config.max_body_bytes };
        delivery::start(&control, &metrics, limits);
        let log = prediction_log(config).map_err(other)?;
        let background = Background::start(limits, log, scheduler.headroom()).map_err(other)?;
        let pool = DecodePool::new(plan.decode, plan.decode * DECODE_QUEUE, limits);
        let timeout = Duration::from_millis(config.request_timeout_ms);
        let (stop_serving, draining) = watch::channel(false);
        let protect_metrics = config.protect_metrics;
        let rules = Rules { access, protect_metrics, metrics: metrics.clone() };
        let shared = Arc::new(Shared {
            service: InferenceService::new(router, pool.map_err(other)?, background, timeout),
            control,
            replica: replica(),
            started: std::time::Instant::now(),
            tracing: tracing(config).map_err(StartError::Other)?,
            metrics,
            load: scheduler.meter(),
            loaded: reconciler.ready(),
            repository: reconciler.commands(),
            source: standing,
            allow_control: config.allow_control,
            stopping: Arc::default(),
            drain: draining,
            bodies: Bodies::new(config.max_body_bytes, config.max_buffered_bytes),
            rules: Arc::new(rules),
        });
        let Addresses { rest, grpc, admin } = bound.addresses.clone();
        let doors = bound.open(&shared, config, stop_serving);
        tracing::info!(%rest, %grpc, %admin, models = %config.models, "serving");
        Ok(App {
            rest_addr: rest,
            grpc_addr: grpc,
            admin_addr: admin,
            shared,
            scheduler,
            source,
            reconciler,
            doors,
            lame_duck: Duration::from_millis(config.lame_duck_ms),
        })
    }

    /// Resolves once what was in the repository at the start is loaded, or has failed to.
    pub async fn ready(&self) {
        // A loop that has ended will not get readier.
        drop(self.reconciler.ready().wait_for(|ready| *ready).await);
    }

    /// Not ready, lame duck, drain within the grace period, models last. True if every request
    /// in flight was answered.
    pub async fn stop(mut self) -> bool {
        self.shared.stopping.store(true, Ordering::Relaxed);
        tracing::info!(lame_duck = ?self.lame_duck, "stopping: not ready any more");
        tokio::time::sleep(self.lame_duck).await;
        let drained = self.doors.drain().await;
        if !drained {
            tracing::warn!("the grace period ended before the last request did");
        }
        self.doors.close().await;
        let (scheduler, source, reconciler) = (self.scheduler, self.source, self.reconciler);
        let shared = self.shared;
        let last = move || {
            scheduler.stop();
            if let Some(source) = source {
                source.stop();
            }
            reconciler.stop();
            if let Some(tracing) = &shared.tracing {
                tracing.stop();
            }
        };
        drop(tokio::task::spawn_blocking(last).await);
        tracing::info!(drained, "stopped");
        drained
    }
}

fn tracing(config: &ServeConfig) -> Result<Option<Tracing>, String> {
    match config.otlp_endpoint.as_str() {
        "" => Ok(None),
        endpoint => Tracing::start(endpoint, config.trace_ratio).map(Some),
    }
}

fn prediction_log(config: &ServeConfig) -> Result<Option<PredictionLog>, LogError> {
    let Some(dir) = config.prediction_log.path() else { return Ok(None) };
    let settings = prediction_log::Settings {
        dir: dir.to_owned(),
        sample: config.prediction_log_sample,
        max_bytes: config.prediction_log_bytes,
        max_files: config.prediction_log_files,
        inputs: config.prediction_log_inputs,
        queue: PREDICTION_QUEUE,
    };
    PredictionLog::start(settings).map(Some)
}

/// What tells this replica from others.
fn replica() -> String {
    let host = rustix::system::uname();
    format!("{}:{}", host.nodename().to_string_lossy(), std::process::id())
}

fn settings(
    config: &ServeConfig,
    plan: &ThreadPlan,
    models: &ModelsDir,
    control: &Control,
) -> ReconcilerSettings {
    ReconcilerSettings {
        root: models.root.clone(),
        filled: models.filled.clone(),
        traffic: control.operator.has_read(),
        poll: Duration::from_millis(config.poll_ms),
        settle: models.settle,
        loader: Loader {
            engines: config.engines.engines(),
            threads: plan.intra_op,
            instances: plan.compute,
            memory: Memory::at(&config.engines.engine_cache),
        },
        warm_bytes: config.warm_bytes,
        model_memory_bytes: match config.model_memory_bytes {
            0 => u64::MAX,
            bytes => bytes,
        },
        limits: Limits {
            max_batch: config.max_batch,
            max_queue_delay: Duration::from_secs_f64(config.max_queue_delay_ms / 1e3),
            max_queue_rows: config.max_queue_rows,
            instances: plan.compute,
            ..Limits::DEFAULT
        },
    }
}

fn other(error: impl std::fmt::Display) -> StartError {
    StartError::Other(error.to_string())
}
