//! Looks after rollouts and bandits: a loop that sees what the arms did and has the operator publish what
//! follows from it. Every replica has one; the store lets one of them win.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Decision, Look, Progress, Rollout, check_golden, decide};
use crate::control::bandit::{Bandit, Reward};
use crate::control::document::{Document, TrafficSpec};
use crate::control::events::Kind;
use crate::control::operator::{By, Draft, Operator};
use crate::control::publisher::Standing;
use crate::control::{Figures, Ledgers, Since};
use crate::error::InferError;
use crate::router::ServedVersion;
use crate::stats::ArmFigures;
use crate::telemetry::metrics::Metrics;
use crate::vision::ImageLimits;

/// Between two looks. A breach is acted on within this and what the store takes.
const LOOK: Duration = Duration::from_millis(200);
/// The same where Prometheus is asked, which scrapes no oftener.
const FAR_LOOK: Duration = Duration::from_secs(2);
/// Between two settings of the gauges.
const SHOW: Duration = Duration::from_secs(1);

/// The loop's hands.
pub struct Driver {
    /// Who publishes.
    pub operator: Arc<Operator>,
    /// What the arms did.
    pub figures: Arc<Figures>,
    /// What feedback says.
    pub ledgers: Arc<Ledgers>,
    /// What is shown.
    pub metrics: Arc<Metrics>,
    /// For the images of golden requests.
    pub limits: ImageLimits,
}

/// What the loop remembers of a model.
#[derive(Default)]
struct Memory {
    /// The rollout, its step and state, and when this replica saw it come to that.
    step: Option<(String, usize, Progress, Instant)>,
    /// When the gates were last judged.
    looked: Option<Instant>,
    /// When a bandit last moved the weights.
    moved: Option<Instant>,
    /// The golden requests of the rollout with this id, which are being tried aside.
    trial: Option<(String, JoinHandle<Result<usize, String>>)>,
}

impl Driver {
    /// Until the process ends.
    pub async fn run(self) {
        let mut memory: HashMap<String, Memory> = HashMap::new();
        let mut shown = Instant::now() - SHOW;
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let show = shown.elapsed() >= SHOW;
            if show {
                shown = Instant::now();
            }
            let models = self.operator.publisher().models();
            memory.retain(|model, _| models.contains(model));
            for model in models {
                let Ok(standing) = self.operator.publisher().standing(&model) else { continue };
                self.figures.look(&model, &standing);
                if show {
                    self.show(&model, &standing);
                }
                let remembered = memory.entry(model.clone()).or_default();
                if let Err(error) = self.look_after(&model, &standing, remembered).await {
                    tracing::warn!(model, %error, "the traffic could not be moved; it is tried again");
                }
            }
        }
    }

    async fn look_after(
        &self,
        model: &str,
        standing: &Standing,
        memory: &mut Memory,
    ) -> Result<(), InferError> {
        let Some(document) = standing.history.current() else { return Ok(()) };
        match (super::open(Some(document)), &document.bandit) {
            (Some(rollout), _) => self.roll_out(model, standing, rollout, memory).await,
            (None, Some(bandit)) => self.move_weights(model, standing, bandit, memory).await,
            (None, None) => Ok(()),
        }
    }

    async fn roll_out(
        &self,
        model: &str,
        standing: &Standing,
        rollout: &Rollout,
        memory: &mut Memory,
    ) -> Result<(), InferError> {
        let now = (rollout.id.as_str(), rollout.step, rollout.state);
        let in_step = match &memory.step {
            Some((id, step, state, since)) if (id.as_str(), *step, *state) == now => {
                since.elapsed()
            }
            _ => {
                let since = (rollout.id.clone(), rollout.step, rollout.state, Instant::now());
                memory.step = Some(since);
                Duration::ZERO
            }
        };
        let decision = match rollout.state {
            Progress::Preparing => {
                self.prepare(standing, rollout, in_step, &mut memory.trial).await
            }
            Progress::Running | Progress::Paused => {
                let recent = memory.looked.is_some_and(|at| at.elapsed() < FAR_LOOK);
                if self.figures.are_far() && recent {
                    return Ok(());
                }
                memory.looked = Some(Instant::now());
                let look = look(&self.figures, model, standing, rollout, in_step).await?;
                decide(rollout, &look)
            }
            _ => return Ok(()),
        };
        self.act(model, rollout, &decision).await
    }

    /// Has the golden requests tried, which may take long: other models are looked after meanwhile.
    async fn prepare(
        &self,
        standing: &Standing,
        rollout: &Rollout,
        waited: Duration,
        trial: &mut Option<(String, JoinHandle<Result<usize, String>>)>,
    ) -> Decision {
        if let Some((_, trying)) = trial.take_if(|(id, _)| *id == rollout.id) {
            if !trying.is_finished() {
                *trial = Some((rollout.id.clone(), trying));
                return Decision::Hold("its golden requests are being tried".to_owned());
            }
            return match trying.await {
                Ok(Ok(count)) => {
                    tracing::info!(version = rollout.to, count, "golden requests passed");
                    Decision::Begin
                }
                Ok(Err(why)) => Decision::RollBack(why),
                Err(panic) => Decision::RollBack(format!("golden requests: {panic}")),
            };
        }
        let Some(candidate) = standing.versions.get(&rollout.to).cloned() else {
            if waited < rollout.timeout.get() {
                return Decision::Hold("the candidate is being loaded".to_owned());
            }
            return Decision::RollBack(format!("version {} did not load in time", rollout.to));
        };
        let limits = self.limits;
        let trying = tokio::task::spawn_blocking(move || check_golden(&candidate, &limits));
        *trial = Some((rollout.id.clone(), trying));
        Decision::Hold("its golden requests are being tried".to_owned())
    }

    async fn act(
        &self,
        model: &str,
        rollout: &Rollout,
        decision: &Decision,
    ) -> Result<(), InferError> {
        let Some((next, reason)) = rollout.after(decision) else { return Ok(()) };
        let kind = match decision {
            Decision::RollBack(_) => Kind::AutomaticRollback,
            _ => Kind::Rollout,
        };
        if kind == Kind::AutomaticRollback {
            tracing::error!(model, from = rollout.from, to = rollout.to, reason, "rolled back");
        }
        let by = By { author: "rollout".to_owned(), reason, if_revision: None };
        let moved = self
            .operator
            .change(model, kind, &by, |standing| {
                let current = standing.history.current();
                // Another replica, or a person, may have been faster.
                let same = current.and_then(|d| d.rollout.as_ref()).is_some_and(|r| r == rollout);
                let document = current.filter(|_| same).ok_or_else(gone)?;
                Ok(Draft {
                    traffic: next.traffic(&document.traffic),
                    rollout: Some(next.clone()),
                    ..Draft::default()
                })
            })
            .await;
        moved_by_somebody(moved)
    }

    async fn move_weights(
        &self,
        model: &str,
        standing: &Standing,
        bandit: &Bandit,
        memory: &mut Memory,
    ) -> Result<(), InferError> {
        let moved = *memory.moved.get_or_insert_with(Instant::now);
        if moved.elapsed() < bandit.interval.get() {
            return Ok(());
        }
        memory.moved = Some(Instant::now());
        let window = self.figures.window(model, standing, Since::Arms).await?;
        let revision = standing.history.revision();
        let arms: Vec<u64> = standing
            .history
            .current()
            .map_or_else(Vec::new, |d| d.traffic.arms.iter().map(|a| a.version).collect());
        let tried = |v: &u64| {
            let figures = window.arms.get(v).cloned().unwrap_or_default();
            (*v, trials(bandit, &figures))
        };
        let tried: BTreeMap<u64, (u64, u64)> = arms.iter().map(tried).collect();
        let weights = bandit.weights(&tried, revision);
        let told: Vec<_> =
            tried.iter().map(|(v, (n, k))| format!("version {v}: {k} of {n}")).collect();
        let by = By {
            author: "bandit".to_owned(),
            reason: format!("towards the better arm: {}", told.join(", ")),
            if_revision: Some(revision),
        };
        let moved = self
            .operator
            .change(model, Kind::Bandit, &by, |standing| {
                let document = standing.history.current().ok_or_else(gone)?;
                if document.traffic.weights() == weights {
                    return Err(gone());
                }
                let TrafficSpec { arms, .. } = TrafficSpec::weighed(&weights);
                Ok(Draft {
                    traffic: TrafficSpec { arms, ..document.traffic.clone() },
                    bandit: document.bandit.clone(),
                    ..Draft::default()
                })
            })
            .await;
        moved_by_somebody(moved)
    }

    fn show_drift(&self, model: &str, served: &ServedVersion) {
        let distances = served.drift.as_ref().and_then(|monitor| monitor.distances());
        let version = served.info.version.to_string();
        for (of, distance) in distances.unwrap_or_default() {
            let set = |measure: &str, value: f64| {
                let labels = [model, version.as_str(), of.as_str(), measure];
                self.metrics.delivery.drift.with_label_values(&labels).set(value);
            };
            set("psi", distance.psi);
            set("kl", distance.kl);
            set("noise", distance.noise);
        }
    }

    fn show(&self, model: &str, standing: &Standing) {
        let delivery = &self.metrics.delivery;
        let weights = standing.weights();
        for (version, served) in &standing.versions {
            let weight = weights.get(version).copied().unwrap_or(0);
            let labels = [model, &version.to_string()];
            delivery.weight.with_label_values(&labels).set(i64::from(weight));
            self.ledgers.show(model, *version);
            self.show_drift(model, served);
        }
        let step = super::open(standing.history.current()).map_or(0, |r| r.step as i64 + 1);
        delivery.rollout_step.with_label_values(&[model]).set(step);
    }
}

/// What a rollout's gates say of what its arms did in this step.
pub async fn look(
    figures: &Figures,
    model: &str,
    standing: &Standing,
    rollout: &Rollout,
    in_step: Duration,
) -> Result<Look, InferError> {
    let window = figures.window(model, standing, Since::Weights).await?;
    let none = ArmFigures::default();
    let arm = |version: &u64| window.arms.get(version).unwrap_or(&none);
    let weights = standing.weights();
    // At the last step the baseline has no traffic: it is as good as it was just before.
    let baseline = match weights.contains_key(&rollout.from) {
        true => arm(&rollout.from),
        false => window.before.get(&rollout.from).unwrap_or(&none),
    };
    Ok(Look::at(rollout, in_step, [baseline, arm(&rollout.to)]))
}

fn trials(bandit: &Bandit, figures: &ArmFigures) -> (u64, u64) {
    match bandit.metric {
        Reward::Accuracy => (figures.accuracy.n, figures.accuracy.k),
        Reward::Success => (figures.requests.n, figures.requests.n - figures.requests.k),
    }
}

/// A change that another one made needless is none the worse.
fn moved_by_somebody(moved: Result<Document, InferError>) -> Result<(), InferError> {
    match moved {
        Err(InferError::Raced(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

fn gone() -> InferError {
    InferError::Raced("the traffic is another by now".to_owned())
}
