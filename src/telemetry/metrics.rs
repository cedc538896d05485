//! Every metric the server exports, declared in one place (docs/metrics.md lists them).
//!
//! Labels are resolved once, when a version is loaded: the request path touches only atomics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::cache::CacheMetrics;
use super::delivery::{ArmTally, DeliveryMetrics};
use super::source::SourceMetrics;
use super::stats::VersionStats;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds, from half a millisecond to ten seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
const BY_VERSION: [&str; 2] = ["model", "version"];

/// The registry and the families with labels.
pub struct Metrics {
    registry: Registry,
    enabled: bool,
    requests: IntCounterVec,
    rejected: IntCounterVec,
    histograms: [HistogramVec; 5],
    counters: [IntCounterVec; 4],
    gauges: [IntGaugeVec; 2],
    loaded_versions: IntGaugeVec,
    version_info: IntGaugeVec,
    batch_cost: GaugeVec,
    queued_seconds: GaugeVec,
    model_load: GaugeVec,
    /// What is asked of the compute threads, as part of what they can do.
    pub load: Gauge,
    /// Requests that named no model that is served here, by code.
    pub unrouted: IntCounterVec,
    /// Requests that were not let in, by reason.
    pub access_refused: IntCounterVec,
    /// Compute threads that run a batch now.
    pub threads_busy: IntGauge,
    /// Compute threads in all.
    pub threads: IntGauge,
    /// The revision of the routing snapshot.
    pub revision: IntGauge,
    /// Failed loads, by model.
    pub load_failures: IntCounterVec,
    /// Traffic, arms, shadows, feedback.
    pub delivery: DeliveryMetrics,
    /// Answers that are kept.
    pub cache: CacheMetrics,
    users: Mutex<HashMap<(String, String), usize>>,
}

/// The handles of one version.
pub struct VersionMetrics {
    /// Sums of the same moments.
    pub stats: VersionStats,
    /// What it did as an arm of the traffic.
    pub arm: ArmTally,
    metrics: Arc<Metrics>,
    labels: [String; 2],
    /// Engine and precision.
    runs_on: OnceLock<[String; 2]>,
    request: Histogram,
    preprocess: Histogram,
    queue: Histogram,
    compute: Histogram,
    batch: Histogram,
    rows: IntCounter,
    expired: IntCounter,
    abandoned: IntCounter,
    panics: IntCounter,
    ok: IntCounter,
    queue_rows: IntGauge,
    in_flight: IntGauge,
    /// Of a batch, and of each row.
    cost: [Gauge; 2],
    queued_seconds: Gauge,
    model_load: Gauge,
}

impl Metrics {
    /// Declares everything. When not `enabled`, nothing on the request path is recorded.
    pub fn new(enabled: bool) -> Result<Arc<Metrics>, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let plain = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let float = |name: &str, help: &str, labels: &[&str]| {
            let family = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let load = Gauge::new(
            "ocelli_load",
            "Work asked of compute threads and decoders, as part of what they can do.",
        )?;
        registry.register(Box::new(load.clone()))?;
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let family = HistogramVec::new(opts, &BY_VERSION)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let metrics = Metrics {
            requests: counter(
                "ocelli_requests_total",
                "Requests answered, by HTTP status.",
                &["model", "version", "code"],
            )?,
            rejected: counter(
                "ocelli_rejected_total",
                "Requests refused before they were queued, by reason.",
                &["model", "version", "reason"],
            )?,
            histograms: [
                histogram("ocelli_request_duration_seconds", "From routed to answered.", &SECONDS)?,
                histogram(
                    "ocelli_preprocess_duration_seconds",
                    "Decoding, resizing and normalising the images of a request.",
                    &SECONDS,
                )?,
                histogram("ocelli_queue_duration_seconds", "From queued to computed.", &SECONDS)?,
                histogram("ocelli_compute_duration_seconds", "One run of the engine.", &SECONDS)?,
                histogram("ocelli_batch_rows", "Rows of a run of the engine.", &ROWS)?,
            ],
            counters: [
                counter("ocelli_rows_total", "Rows computed.", &BY_VERSION)?,
                counter(
                    "ocelli_expired_total",
                    "Queued work whose deadline passed before compute.",
                    &BY_VERSION,
                )?,
                counter(
                    "ocelli_abandoned_total",
                    "Queued work whose caller left before compute.",
                    &BY_VERSION,
                )?,
                counter(
                    "ocelli_engine_panics_total",
                    "Panics of the engine, caught.",
                    &BY_VERSION,
                )?,
            ],
            gauges: [
                gauge("ocelli_queue_rows", "Rows that wait for compute.", &BY_VERSION)?,
                gauge(
                    "ocelli_in_flight_requests",
                    "Requests routed and not yet answered.",
                    &BY_VERSION,
                )?,
            ],
            loaded_versions: gauge(
                "ocelli_loaded_versions",
                "Versions loaded and warm.",
                &["model"],
            )?,
            version_info: gauge(
                "ocelli_version_info",
                "Loaded versions, by what computes them: 1, and 2 while one replaces itself.",
                &["model", "version", "engine", "precision"],
            )?,
            batch_cost: float(
                "ocelli_batch_cost_seconds",
                "What a run of the engine is expected to take: a fixed part, and a part for each row.",
                &["model", "version", "part"],
            )?,
            queued_seconds: float(
                "ocelli_queued_seconds",
                "Seconds of compute that wait, in full batches.",
                &BY_VERSION,
            )?,
            model_load: float("ocelli_model_load", "A model's part of ocelli_load.", &["model"])?,
            load,
            unrouted: counter(
                "ocelli_unrouted_requests_total",
                "Requests that reached no version, by HTTP status.",
                &["code"],
            )?,
            access_refused: counter(
                "ocelli_access_refused_total",
                "Requests that were not let in, by reason.",
                &["reason"],
            )?,
            threads_busy: plain("ocelli_compute_threads_busy", "Compute threads running a batch.")?,
            threads: plain("ocelli_compute_threads", "Compute threads.")?,
            revision: plain("ocelli_snapshot_revision", "Revision of the routing snapshot.")?,
            load_failures: counter(
                "ocelli_load_failures_total",
                "Versions that failed to load.",
                &["model"],
            )?,
            delivery: DeliveryMetrics::register(&registry)?,
            cache: CacheMetrics::register(&registry)?,
            registry,
            enabled,
            users: Mutex::default(),
        };
        Ok(Arc::new(metrics))
    }

    /// Declares what the mirror of a source counts. Asked once, by a server that has one.
    pub fn source(&self) -> Result<SourceMetrics, prometheus::Error> {
        SourceMetrics::register(&self.registry)
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The handles of a version; its series go when the last holder does.
    pub fn version(self: &Arc<Self>, model: &str, version: u64) -> VersionMetrics {
        let labels = [model.to_owned(), version.to_string()];
        let l: [&str; 2] = [&labels[0], &labels[1]];
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry((labels[0].clone(), labels[1].clone())).or_default();
        *count += 1;
        if *count == 1 {
            self.loaded_versions.with_label_values(&[model]).inc();
        }
        drop(users);
        let [request, preprocess, queue, compute, batch] =
            self.histograms.each_ref().map(|h| h.with_label_values(&l));
        let [rows, expired, abandoned, panics] =
            self.counters.each_ref().map(|c| c.with_label_values(&l));
        let [queue_rows, in_flight] = self.gauges.each_ref().map(|g| g.with_label_values(&l));
        let ok = self.requests.with_label_values(&[l[0], l[1], "200"]);
        VersionMetrics {
            stats: VersionStats::default(),
            arm: self.delivery.arm(l[0], l[1]),
            metrics: self.clone(),
            request,
            preprocess,
            queue,
            compute,
            batch,
            rows,
            expired,
            abandoned,
            panics,
            ok,
            queue_rows,
            in_flight,
            cost: ["fixed", "row"]
                .map(|part| self.batch_cost.with_label_values(&[l[0], l[1], part])),
            queued_seconds: self.queued_seconds.with_label_values(&l),
            model_load: self.model_load.with_label_values(&[model]),
            labels,
            runs_on: OnceLock::new(),
        }
    }
}

impl VersionMetrics {
    /// What computes it. Told once.
    pub fn runs_on(&self, engine: &str, precision: &str) {
        if self.runs_on.set([engine.to_owned(), precision.to_owned()]).is_ok() {
            self.info(|info| info.inc());
        }
    }

    fn info(&self, tell: impl FnOnce(&IntGauge)) {
        let Some([engine, precision]) = self.runs_on.get() else { return };
        let [model, version] = &self.labels;
        let labels = [model.as_str(), version, engine, precision];
        let info = self.metrics.version_info.with_label_values(&labels);
        tell(&info);
        if info.get() <= 0 {
            drop(self.metrics.version_info.remove_label_values(&labels));
        }
    }

    /// A request was routed here.
    pub fn started(&self) {
        self.in_flight.inc();
    }

    /// Requests that were routed here and are not answered yet.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// A request was answered with an HTTP status.
    pub fn finished(&self, status: u16, took: Duration) {
        self.in_flight.dec();
        self.stats.finished(status == 200, took);
        if !self.metrics.enabled {
            return;
        }
        if status == 200 {
            self.ok.inc();
        } else {
            let [model, version] = &self.labels;
            self.metrics.requests.with_label_values(&[model, version, &status.to_string()]).inc();
        }
        self.request.observe(took.as_secs_f64());
    }

    /// A request was refused before it was queued.
    pub fn rejected(&self, reason: &str) {
        let [model, version] = &self.labels;
        self.metrics.rejected.with_label_values(&[model, version, reason]).inc();
    }

    /// The images of a request became tensors.
    pub fn preprocessed(&self, took: Duration) {
        if self.metrics.enabled {
            self.preprocess.observe(took.as_secs_f64());
        }
    }

    /// Queued work reached the engine.
    pub fn dequeued(&self, waited: Duration) {
        if self.metrics.enabled {
            self.queue.observe(waited.as_secs_f64());
        }
    }

    /// The engine ran.
    pub fn computed(&self, rows: usize, took: Duration) {
        self.stats.computed(rows, took);
        if self.metrics.enabled {
            self.compute.observe(took.as_secs_f64());
            self.batch.observe(rows as f64);
            self.rows.inc_by(rows as u64);
        }
    }

    /// Rows that wait now.
    pub fn queue_rows(&self, rows: usize) {
        self.queue_rows.set(rows as i64);
    }

    /// What a batch costs, if that is known, as seconds of the whole and of each row; seconds of work that
    /// wait; and the load of the whole model.
    pub fn load(&self, cost: Option<(f64, f64)>, queued_seconds: f64, model: f64) {
        let (fixed, row) = cost.unwrap_or_default();
        self.cost[0].set(fixed);
        self.cost[1].set(row);
        self.queued_seconds.set(queued_seconds);
        self.model_load.set(model);
    }

    /// Work was dropped just before compute, because its deadline passed.
    pub fn expired(&self) {
        self.expired.inc();
    }

    /// Work was dropped just before compute, because its caller left.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// The engine panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

impl Drop for VersionMetrics {
    fn drop(&mut self) {
        let [model, version] = &self.labels;
        self.info(|info| info.dec());
        let mut users = self.metrics.users.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (model.clone(), version.clone());
        let Some(count) = users.get_mut(&key) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        users.remove(&key);
        if !users.keys().any(|(other, _)| other == model) {
            drop(self.metrics.model_load.remove_label_values(&[model]));
        }
        self.metrics.loaded_versions.with_label_values(&[model]).dec();
        // An absent series is what the following removals want, so their errors say nothing.
        let l: [&str; 2] = [model, version];
        self.metrics.histograms.iter().for_each(|h| drop(h.remove_label_values(&l)));
        self.metrics.counters.iter().for_each(|c| drop(c.remove_label_values(&l)));
        self.metrics.gauges.iter().for_each(|g| drop(g.remove_label_values(&l)));
        drop(self.metrics.queued_seconds.remove_label_values(&l));
        for part in ["fixed", "row"] {
            drop(self.metrics.batch_cost.remove_label_values(&[model, version, part]));
        }
        self.metrics.delivery.forget(&l);
        self.metrics.cache.forget(l);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_listed_with_what_computes_it_for_as_long_as_it_is_loaded() {
        let metrics = Metrics::new(true).unwrap();
        let listed = || {
            let text = String::from_utf8(metrics.render().unwrap()).unwrap();
            let lines = text.lines().filter(|l| l.starts_with("ocelli_version_info{"));
            lines.map(|l| l["ocelli_version_info".len()..].to_owned()).collect::<Vec<_>>()
        };
        let old = metrics.version("m", 3);
        assert_eq!(listed(), [""; 0]);
        old.runs_on("tract", "f32");
        let of = |engine: &str, precision: &str, n: i64| {
            format!(
                "{{engine=\"{engine}\",model=\"m\",precision=\"{precision}\",version=\"3\"}} {n}"
            )
        };
        assert_eq!(listed(), [of("tract", "f32", 1)]);
        let new = metrics.version("m", 3);
        new.runs_on("openvino", "bf16");
        let same = metrics.version("m", 3);
        same.runs_on("tract", "f32");
        assert_eq!(listed(), [of("openvino", "bf16", 1), of("tract", "f32", 2)]);
        drop((old, same));
        assert_eq!(listed(), [of("openvino", "bf16", 1)]);
        drop(new);
        assert_eq!(listed(), [""; 0]);
    }
}
