//! What caches of answers count. Only models that have one have these series.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The families.
pub struct CacheMetrics {
    requests: IntCounterVec,
    bytes: IntGaugeVec,
}

/// The handles of one version.
pub struct CacheTally {
    /// Requests that were answered by what was kept, or by what another one computed meanwhile.
    pub hits: IntCounter,
    /// Requests that were computed, and kept.
    pub misses: IntCounter,
    /// Requests that wanted to be computed.
    pub skipped: IntCounter,
    /// Bytes that are kept.
    pub bytes: IntGauge,
}

const RESULTS: [&str; 3] = ["hit", "miss", "skipped"];

impl CacheMetrics {
    /// Declares them.
    pub fn register(registry: &Registry) -> Result<CacheMetrics, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("ocelli_cache_requests_total", "Requests to models with a cache, by result."),
            &["model", "version", "result"],
        )?;
        let bytes = IntGaugeVec::new(
            Opts::new("ocelli_cache_bytes", "Bytes of answers that are kept."),
            &["model", "version"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        Ok(CacheMetrics { requests, bytes })
    }

    /// The handles of a model's version.
    pub fn of(&self, [model, version]: [&str; 2]) -> CacheTally {
        let [hits, misses, skipped] =
            RESULTS.map(|result| self.requests.with_label_values(&[model, version, result]));
        let bytes = self.bytes.with_label_values(&[model, version]);
        CacheTally { hits, misses, skipped, bytes }
    }

    /// Ends its series, if there are any.
    pub(super) fn forget(&self, [model, version]: [&str; 2]) {
        for result in RESULTS {
            drop(self.requests.remove_label_values(&[model, version, result]));
        }
        drop(self.bytes.remove_label_values(&[model, version]));
    }
}
