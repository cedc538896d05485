//! What the mirror of a source counts. Only a server that has one has these series.

use prometheus::{Gauge, IntCounter, IntCounterVec, Opts, Registry};

/// The families.
#[derive(Clone)]
pub struct SourceMetrics {
    bytes: IntCounter,
    files: IntCounter,
    failures: IntCounterVec,
    age: Gauge,
}

impl SourceMetrics {
    /// Declares them.
    pub(super) fn register(registry: &Registry) -> Result<SourceMetrics, prometheus::Error> {
        let metrics = SourceMetrics {
            bytes: IntCounter::new(
                "ocelli_source_fetched_bytes_total",
                "Bytes of files that were fetched from the source.",
            )?,
            files: IntCounter::new(
                "ocelli_source_fetched_files_total",
                "Files that were fetched from the source.",
            )?,
            failures: IntCounterVec::new(
                Opts::new(
                    "ocelli_source_failures_total",
                    "Looks and fetches that failed, by reason.",
                ),
                &["reason"],
            )?,
            age: Gauge::new(
                "ocelli_source_age_seconds",
                "Since the source was last read well, or since the start.",
            )?,
        };
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.files.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.age.clone()))?;
        Ok(metrics)
    }

    /// A file came.
    pub fn fetched(&self, bytes: u64) {
        self.files.inc();
        self.bytes.inc_by(bytes);
    }

    /// A look or a fetch failed.
    pub fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[reason]).inc();
    }

    /// Since the last good look.
    pub fn aged(&self, age: std::time::Duration) {
        self.age.set(age.as_secs_f64());
    }
}
