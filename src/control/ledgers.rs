//! The feedback ledgers of all versions. A version's stays when it is unloaded, since feedback is late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::feedback::{Feedback, FeedbackError, Ledger, Snapshot};
use crate::prediction_id::PredictionId;
use crate::stats::ArmFigures;
use crate::stats::{Counts, Moments};
use crate::telemetry::metrics::Metrics;

/// Versions that are kept, the least recently created going first.
const KEPT: usize = 1024;

/// The ledgers, by model and version.
pub struct Ledgers {
    ledgers: Mutex<BTreeMap<(String, u64), Arc<Ledger>>>,
    metrics: Arc<Metrics>,
}

impl Ledgers {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Ledgers {
        Ledgers { ledgers: Mutex::default(), metrics }
    }

    /// Counts what was said of an answer; false if it was said before.
    pub fn record(&self, id: &PredictionId, feedback: &Feedback) -> Result<bool, FeedbackError> {
        let ledger = self.of(id.model(), id.version());
        let accepted = ledger.record(id, feedback, Instant::now())?;
        let right = match (feedback.correct, feedback.label) {
            (Some(correct), _) => Some(correct),
            (None, Some(label)) => {
                id.classes().get(feedback.row as usize).map(|class| *class == label)
            }
            (None, None) => None,
        };
        let outcome = match right {
            _ if !accepted => "duplicate",
            Some(true) => "correct",
            Some(false) => "wrong",
            None => "reward",
        };
        let version = id.version().to_string();
        let family = &self.metrics.delivery.feedback;
        family.with_label_values(&[id.model(), version.as_str(), outcome]).inc();
        if let Some(reward) = feedback.reward.filter(|_| accepted) {
            let add = |moment: &str, by: f64| {
                let family = &self.metrics.delivery.rewards;
                family.with_label_values(&[id.model(), version.as_str(), moment]).inc_by(by);
            };
            add("n", 1.0);
            add("squares", reward * reward);
            add(if reward < 0.0 { "negative" } else { "positive" }, reward.abs());
        }
        Ok(accepted)
    }

    /// How good a version's answers were.
    pub fn snapshot(&self, model: &str, version: u64) -> Option<Snapshot> {
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = ledgers.get(&(model.to_owned(), version)).cloned();
        drop(ledgers);
        ledger.map(|ledger| ledger.snapshot(Instant::now()))
    }

    /// Adds what feedback says to a version's figures.
    pub fn add(&self, model: &str, version: u64, figures: &mut ArmFigures) {
        let Some(Snapshot { total, .. }) = self.snapshot(model, version) else { return };
        figures.accuracy = Counts::new(total.judged, total.correct);
        let reward = total.reward;
        figures.reward = Moments { n: reward.n, sum: reward.sum, sum_sq: reward.sum_squares };
    }

    /// Sets the gauges of a version.
    pub fn show(&self, model: &str, version: u64) {
        let Some(snapshot) = self.snapshot(model, version) else { return };
        let (delivery, version) = (&self.metrics.delivery, version.to_string());
        let windows =
            [("all", &snapshot.total), ("5m", &snapshot.last_5m), ("1h", &snapshot.last_1h)];
        for (window, quality) in windows {
            let labels = [model, version.as_str(), window];
            let set = |family: &prometheus::GaugeVec, value: Option<f64>| {
                family.with_label_values(&labels).set(value.unwrap_or(f64::NAN));
            };
            set(&delivery.accuracy, quality.accuracy);
            set(&delivery.reward, quality.reward_mean);
        }
        let named = snapshot.last_1h.classes.iter().chain(&snapshot.last_1h.other);
        for class in named {
            let name = class.class.map_or_else(|| "other".to_owned(), |c| c.to_string());
            let labels = [model, version.as_str(), name.as_str()];
            let set = |family: &prometheus::GaugeVec, value: Option<f64>| {
                family.with_label_values(&labels).set(value.unwrap_or(f64::NAN));
            };
            set(&delivery.precision, class.precision);
            set(&delivery.recall, class.recall);
        }
    }

    fn of(&self, model: &str, version: u64) -> Arc<Ledger> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        if ledgers.len() >= KEPT && !ledgers.contains_key(&(model.to_owned(), version)) {
            ledgers.pop_first();
        }
        let ledger = ledgers.entry((model.to_owned(), version));
        ledger.or_insert_with(|| Arc::new(Ledger::new(Instant::now()))).clone()
    }
}
