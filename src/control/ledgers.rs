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

/// Revisions of which a version's feedback as an arm is kept apart; older ones are forgotten.
const REVISIONS: usize = 64;

/// The ledgers, by model and version.
pub struct Ledgers {
    ledgers: Mutex<Kept>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Kept {
    versions: BTreeMap<(String, u64), Entry>,
    /// Counts the versions that were ever kept.
    created: u64,
}

struct Entry {
    created: u64,
    ledger: Arc<Ledger>,
    /// What was said of answers that were given as an arm, by the revision they were given under: so that
    /// late feedback counts where it belongs.
    arms: BTreeMap<u64, Said>,
}

/// What was said of some answers.
#[derive(Clone, Copy, Default)]
struct Said {
    accuracy: Counts,
    reward: Moments,
}

impl Ledgers {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> Ledgers {
        Ledgers { ledgers: Mutex::default(), metrics }
    }

    /// Counts what was said of an answer; false if it was said before.
    pub fn record(&self, id: &PredictionId, feedback: &Feedback) -> Result<bool, FeedbackError> {
        let ledger = self.with(id.model(), id.version(), |entry| entry.ledger.clone());
        let accepted = ledger.record(id, feedback, Instant::now())?;
        let right = feedback.right(id.classes());
        let outcome = match right {
            _ if !accepted => "duplicate",
            Some(true) => "correct",
            Some(false) => "wrong",
            None => "reward",
        };
        let version = id.version().to_string();
        let delivery = &self.metrics.delivery;
        delivery.feedback.with_label_values(&[id.model(), version.as_str(), outcome]).inc();
        if let Some(revision) = id.revision().filter(|_| accepted) {
            self.with(id.model(), id.version(), |entry| {
                entry.say(revision, right, feedback.reward)
            });
            delivery.arm_feedback.with_label_values(&[id.model(), version.as_str(), outcome]).inc();
            if let Some(reward) = feedback.reward {
                let add = |moment: &str, by: f64| {
                    let labels = [id.model(), version.as_str(), moment];
                    delivery.rewards.with_label_values(&labels).inc_by(by);
                };
                add("n", 1.0);
                add("squares", reward * reward);
                add(if reward < 0.0 { "negative" } else { "positive" }, reward.abs());
            }
        }
        Ok(accepted)
    }

    /// How good a version's answers were.
    pub fn snapshot(&self, model: &str, version: u64) -> Option<Snapshot> {
        let kept = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.versions.get(&(model.to_owned(), version));
        let ledger = entry.map(|entry| entry.ledger.clone());
        drop(kept);
        ledger.map(|ledger| ledger.snapshot(Instant::now()))
    }

    /// Adds to a version's figures what is said of the answers that it gave as an arm under these
    /// revisions.
    pub fn add(
        &self,
        model: &str,
        version: u64,
        revisions: std::ops::Range<u64>,
        figures: &mut ArmFigures,
    ) {
        let kept = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = kept.versions.get(&(model.to_owned(), version)) else { return };
        for (_, said) in entry.arms.iter().filter(|(revision, _)| revisions.contains(revision)) {
            figures.accuracy = figures.accuracy.merge(said.accuracy);
            figures.reward = figures.reward.merge(said.reward);
        }
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

    fn with<T>(&self, model: &str, version: u64, f: impl FnOnce(&mut Entry) -> T) -> T {
        let mut kept = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { versions, created } = &mut *kept;
        let key = (model.to_owned(), version);
        if versions.len() >= KEPT && !versions.contains_key(&key) {
            let oldest = versions.iter().min_by_key(|(_, e)| e.created).map(|(k, _)| k.clone());
            oldest.and_then(|oldest| versions.remove(&oldest));
        }
        f(versions.entry(key).or_insert_with(|| {
            *created += 1;
            let ledger = Arc::new(Ledger::new(Instant::now()));
            Entry { created: *created, ledger, arms: BTreeMap::new() }
        }))
    }
}

impl Entry {
    fn say(&mut self, revision: u64, right: Option<bool>, reward: Option<f64>) {
        let said = self.arms.entry(revision).or_default();
        right.into_iter().for_each(|right| said.accuracy.record(right));
        reward.into_iter().for_each(|reward| said.reward.record(reward));
        if self.arms.len() > REVISIONS {
            self.arms.pop_first();
        }
    }
}
