//! Reads what the scheduler knows of its load, and tells the metrics.

use std::sync::Arc;
use std::time::Instant;

use super::load::LoadReport;
use super::scheduler::Shared;

/// Reads the load. It costs a moment of the scheduler's lock, so that nothing on the request path has to keep
/// figures up for whoever may ask.
#[derive(Clone)]
pub struct Meter {
    pub(super) shared: Arc<Shared>,
}

impl Meter {
    /// The load at this moment, which the metrics are told, too.
    pub fn read(&self) -> LoadReport {
        let queues = self.shared.report(Instant::now());
        let versions = queues.iter().map(|(counted, q)| (&*counted.model, q.offered));
        let report = LoadReport::new(self.shared.threads, versions);
        for (counted, queue) in &queues {
            // A version that is just being dropped has no series any more, and gets none.
            let Some(metrics) = counted.metrics.upgrade() else { continue };
            let curve = queue.curve.map(|c| (c.fixed, c.row));
            let of_model = report.models.iter().find(|m| *m.model == *counted.model);
            metrics.load(curve, queue.queued_seconds, of_model.map_or(0.0, |m| m.parts.total()));
        }
        self.shared.metrics.load.set(report.load());
        report
    }
}
