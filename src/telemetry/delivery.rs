//! The metrics of progressive delivery: traffic, arms, shadows, feedback.

use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, exponential_buckets,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::ArmFigures;
use crate::stats::{AtomicLatency, Counts};

const BY_VERSION: [&str; 2] = ["model", "version"];

/// The families.
pub struct DeliveryMetrics {
    arm_requests: IntCounterVec,
    arm_duration: HistogramVec,
    shadows: IntCounterVec,
    shadow_duration: HistogramVec,
    shadow_distance: HistogramVec,
    shadow_overlap: HistogramVec,
    /// What happened to traffic, by model and kind.
    pub events: IntCounterVec,
    /// The revision of a model's newest document.
    pub traffic_revision: IntGaugeVec,
    /// Basis points of the traffic, by version.
    pub weight: IntGaugeVec,
    /// Where a rollout is: its step from 1, 0 when none goes on.
    pub rollout_step: IntGaugeVec,
    /// Whether the traffic store can be reached.
    pub store_up: IntGaugeVec,
    /// Feedback, by what it said.
    pub feedback: IntCounterVec,
    /// The same, of answers that were given as an arm of the traffic.
    pub arm_feedback: IntCounterVec,
    /// Rewards of such answers: how many, the sums of the positive and of the negative ones, and that of their squares.
    pub rewards: CounterVec,
    /// Share of the answers that feedback found right, by window.
    pub accuracy: GaugeVec,
    /// Mean reward, by window.
    pub reward: GaugeVec,
    /// Precision of the classes with most feedback, and of the others together.
    pub precision: GaugeVec,
    /// Recall of the same.
    pub recall: GaugeVec,
    /// Distance of live from reference distributions, by what is compared and how.
    pub drift: GaugeVec,
    /// What became of predictions that were to be logged.
    log: IntCounterVec,
}

/// What one version did as an arm or as a shadow since it was loaded.
pub struct ArmTally {
    answered: AtomicU64,
    errors: AtomicU64,
    latency: AtomicLatency,
    compared: AtomicU64,
    agreed: AtomicU64,
    ok: IntCounter,
    failed: IntCounter,
    duration: Histogram,
    agree: IntCounter,
    differ: IntCounter,
    broken: IntCounter,
    shed: IntCounter,
    shadow_duration: Histogram,
    shadow_distance: Histogram,
    shadow_overlap: Histogram,
}

/// How a shadow's answer compares with the one that was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Whether every row has the same best class, or the same values where there are no classes.
    pub same: bool,
    /// Of all numbers of the outputs, the greatest difference relative to the given answer's size.
    pub distance: f64,
    /// Of the five best classes of each row, the share that both have; none where there are no classes.
    pub overlap: Option<f64>,
}

impl DeliveryMetrics {
    pub(super) fn register(registry: &Registry) -> Result<DeliveryMetrics, prometheus::Error> {
        let opts = Opts::new;
        macro_rules! family {
            ($kind:ident, $name:expr, $help:expr, $labels:expr) => {{
                let family = $kind::new(opts($name, $help), $labels)?;
                registry.register(Box::new(family.clone()))?;
                family
            }};
        }
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let family =
                HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &BY_VERSION)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        // Fine enough to compare two versions' quantiles: 250 us to 75 s.
        let fine = || exponential_buckets(0.000_25, 1.3, 49);
        let by_window = ["model", "version", "window"];
        let by_class = ["model", "version", "class"];
        Ok(DeliveryMetrics {
            arm_requests: family!(
                IntCounterVec,
                "ocelli_arm_requests_total",
                "Requests that a version answered as an arm of the traffic, by outcome.",
                &["model", "version", "outcome"]
            ),
            arm_duration: histogram(
                "ocelli_arm_duration_seconds",
                "From routed to answered, as an arm of the traffic.",
                fine()?,
            )?,
            shadows: family!(
                IntCounterVec,
                "ocelli_shadow_total",
                "Copies of requests, by how the shadow's answer compares.",
                &["model", "version", "outcome"]
            ),
            shadow_duration: histogram(
                "ocelli_shadow_duration_seconds",
                "Computing a copy of a request.",
                fine()?,
            )?,
            shadow_distance: histogram(
                "ocelli_shadow_distance",
                "Greatest relative difference between a shadow's numbers and the answer's.",
                exponential_buckets(1e-7, 10.0, 9)?,
            )?,
            shadow_overlap: histogram(
                "ocelli_shadow_overlap",
                "Share of the five best classes that a shadow's answer has in common with the answer.",
                vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            )?,
            events: family!(
                IntCounterVec,
                "ocelli_traffic_events_total",
                "What happened to traffic, by kind.",
                &["model", "kind"]
            ),
            traffic_revision: family!(
                IntGaugeVec,
                "ocelli_traffic_revision",
                "Revision of the newest traffic document.",
                &["model"]
            ),
            weight: family!(
                IntGaugeVec,
                "ocelli_traffic_weight",
                "Basis points of the traffic.",
                &BY_VERSION
            ),
            rollout_step: family!(
                IntGaugeVec,
                "ocelli_rollout_step",
                "Step of the rollout that goes on, from 1; 0 without one.",
                &["model"]
            ),
            store_up: family!(
                IntGaugeVec,
                "ocelli_traffic_store_up",
                "Whether the traffic store can be reached.",
                &["kind"]
            ),
            feedback: family!(
                IntCounterVec,
                "ocelli_feedback_total",
                "Feedback, by what it said.",
                &["model", "version", "outcome"]
            ),
            arm_feedback: family!(
                IntCounterVec,
                "ocelli_arm_feedback_total",
                "Feedback on answers that were given as an arm of the traffic, by what it said.",
                &["model", "version", "outcome"]
            ),
            rewards: family!(
                CounterVec,
                "ocelli_arm_reward_total",
                "Rewards of feedback: n, positive and negative sums, sum of squares.",
                &["model", "version", "moment"]
            ),
            accuracy: family!(
                GaugeVec,
                "ocelli_accuracy",
                "Share of answers that feedback found right.",
                &by_window
            ),
            reward: family!(GaugeVec, "ocelli_reward", "Mean reward of feedback.", &by_window),
            precision: family!(GaugeVec, "ocelli_precision", "Precision by class.", &by_class),
            recall: family!(GaugeVec, "ocelli_recall", "Recall by class.", &by_class),
            drift: family!(
                GaugeVec,
                "ocelli_drift",
                "Distance of live from reference distributions.",
                &["model", "version", "of", "measure"]
            ),
            log: family!(
                IntCounterVec,
                "ocelli_prediction_log_total",
                "Predictions that were to be logged, by what became of them.",
                &["outcome"]
            ),
        })
    }

    /// Takes over what the log of predictions counts by itself.
    pub fn logged(&self, written: &AtomicU64, dropped: &AtomicU64, failed: &AtomicU64) {
        for (outcome, now) in [("written", written), ("dropped", dropped), ("failed", failed)] {
            let counter = self.log.with_label_values(&[outcome]);
            counter.inc_by(now.load(Ordering::Relaxed).saturating_sub(counter.get()));
        }
    }

    /// The handles of a version.
    pub(super) fn arm(&self, model: &str, version: &str) -> ArmTally {
        let l = [model, version];
        let request = |outcome| self.arm_requests.with_label_values(&[model, version, outcome]);
        let shadow = |outcome| self.shadows.with_label_values(&[model, version, outcome]);
        ArmTally {
            answered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: AtomicLatency::default(),
            compared: AtomicU64::new(0),
            agreed: AtomicU64::new(0),
            ok: request("ok"),
            failed: request("error"),
            duration: self.arm_duration.with_label_values(&l),
            agree: shadow("agree"),
            differ: shadow("differ"),
            broken: shadow("error"),
            shed: shadow("shed"),
            shadow_duration: self.shadow_duration.with_label_values(&l),
            shadow_distance: self.shadow_distance.with_label_values(&l),
            shadow_overlap: self.shadow_overlap.with_label_values(&l),
        }
    }

    pub(super) fn forget(&self, labels: &[&str]) {
        // An absent series is what is wanted, so errors say nothing.
        for family in
            [&self.arm_duration, &self.shadow_duration, &self.shadow_distance, &self.shadow_overlap]
        {
            drop(family.remove_label_values(labels));
        }
        drop(self.weight.remove_label_values(labels));
    }
}

impl ArmTally {
    /// An arm answered. Statuses from 500 on are its failures; what a caller did wrong, or a caller that
    /// left, says nothing of the arm and counts as neither.
    pub fn answered(&self, status: u16, took: Duration) {
        match status {
            200..300 => self.ok.inc(),
            500.. => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                self.failed.inc();
            }
            _ => return,
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.latency.record(took);
        self.duration.observe(took.as_secs_f64());
    }

    /// A copy of a request was computed.
    pub fn shadowed(&self, agreement: Agreement, took: Duration) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.shadow_duration.observe(took.as_secs_f64());
        self.shadow_distance.observe(agreement.distance);
        agreement.overlap.into_iter().for_each(|share| self.shadow_overlap.observe(share));
        if agreement.same {
            self.agreed.fetch_add(1, Ordering::Relaxed);
            self.agree.inc();
        } else {
            self.differ.inc();
        }
    }

    /// A copy of a request could not be computed: it agrees with nothing.
    pub fn shadow_failed(&self) {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.broken.inc();
    }

    /// A copy of a request was dropped, since there was no spare capacity.
    pub fn shadow_shed(&self) {
        self.shed.inc();
    }

    /// All of it so far. What feedback says is not known here.
    pub fn figures(&self) -> ArmFigures {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        // What is a part is read before what it is a part of.
        let (errors, agreed) = (read(&self.errors), read(&self.agreed));
        ArmFigures {
            requests: Counts::new(read(&self.answered).max(errors), errors),
            latency: self.latency.read(),
            agreement: Counts::new(read(&self.compared).max(agreed), agreed),
            ..ArmFigures::default()
        }
    }
}
