//! Sums since a version was loaded, as Triton's statistics extension tells them
//! (docs/protocol/extension_statistics.md). Prometheus has histograms of the same moments.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often something happened, and how long it took in all.
#[derive(Debug, Default)]
pub struct Tally {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Tally {
    fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The count, and the nanoseconds.
    pub fn read(&self) -> (u64, u64) {
        (self.count.load(Ordering::Relaxed), self.ns.load(Ordering::Relaxed))
    }
}

/// What one version did since it was loaded. What is told of the parts of a request counts requests
/// that were computed, however many shared a run; Triton's clients take the parts' counts to be equal.
#[derive(Debug, Default)]
pub struct VersionStats {
    /// Requests that were answered.
    pub success: Tally,
    /// Requests that were not.
    pub fail: Tally,
    /// Requests, and how long they waited.
    pub queue: Tally,
    /// Requests, and how long their images took to become tensors.
    pub input: Tally,
    /// Requests, and how long the runs took that they shared.
    pub infer: Tally,
    /// Requests whose answer was kept, and how long they took to find it.
    pub cache_hit: Tally,
    /// Requests that looked for an answer in vain, until it was computed.
    pub cache_miss: Tally,
    rows: AtomicU64,
    last_ms: AtomicU64,
    /// Taken once a run, by the compute thread.
    by_rows: Mutex<BTreeMap<usize, (u64, u64)>>,
}

impl VersionStats {
    /// A request was computed.
    pub fn served(&self, queued: Duration, preprocess: Duration, compute: Duration) {
        self.queue.add(queued);
        self.input.add(preprocess);
        self.infer.add(compute);
    }

    /// A request asked for an answer that is kept, and has one now.
    pub fn recalled(&self, hit: bool, took: Duration) {
        if hit { &self.cache_hit } else { &self.cache_miss }.add(took);
    }

    pub(super) fn finished(&self, ok: bool, took: Duration) {
        if ok { &self.success } else { &self.fail }.add(took);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn computed(&self, rows: usize, took: Duration) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let mut by_rows = self.by_rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, ns) = by_rows.entry(rows).or_default();
        *count += 1;
        *ns += took.as_nanos() as u64;
    }

    /// Rows computed.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// When the last request ended, in milliseconds since the epoch; 0 for never.
    pub fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    /// By rows of a run: runs, and their nanoseconds.
    pub fn by_rows(&self) -> BTreeMap<usize, (u64, u64)> {
        self.by_rows.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
