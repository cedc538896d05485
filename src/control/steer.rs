//! The changes that people make: of weights and the rest, back, and of rollouts and bandits.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::bandit::Bandit;
use super::document::{Arm, Document, Match, Shadow, Sticky, TrafficSpec};
use super::events::Kind;
use super::operator::{By, Draft, Operator};
use super::publisher::Standing;
use super::rollout::{self, Progress, Rollout, Start};
use crate::error::InferError;

/// A change of a model's traffic. What is left out stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Edit {
    /// Shares of 10,000.
    pub arms: Option<Vec<Arm>>,
    /// Weights by version; only their ratios count.
    #[schema(value_type = Option<BTreeMap<String, u32>>)]
    pub weights: Option<BTreeMap<u64, u32>>,
    /// Whether all goes to the latest version available, as it comes.
    pub latest: bool,
    /// What keeps a user with an arm; `null` for nothing.
    #[serde(deserialize_with = "even_null")]
    pub sticky: Option<Option<Sticky>>,
    /// Versions that get copies of requests; `[]` for none.
    pub shadow: Option<Vec<Shadow>>,
    /// Requests that go to a certain version; `[]` for none.
    #[serde(rename = "match")]
    pub matches: Option<Vec<Match>>,
    /// Who asks, for the history.
    pub author: Option<String>,
    /// Why, for the history.
    pub reason: Option<String>,
    /// The revision it was decided on: another one in between refuses the change.
    pub if_revision: Option<u64>,
}

/// What a person does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Stay at this step.
    Pause,
    /// Go on.
    Resume,
    /// Back to the baseline.
    Abort,
    /// To the next step now, whatever its gates say.
    Promote,
}

fn even_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Edit {
    fn apply(&self, to: &TrafficSpec) -> Result<TrafficSpec, InferError> {
        let arms = match (&self.arms, &self.weights, self.latest) {
            (None, None, true) => Vec::new(),
            (Some(arms), None, false) => arms.clone(),
            (None, Some(weights), false) => {
                let arms = TrafficSpec::weighed(weights).arms;
                if arms.is_empty() {
                    return Err(InferError::Invalid(
                        "traffic needs at least one version with a weight above 0".to_owned(),
                    ));
                }
                arms
            }
            (None, None, false) if self.touches_others() => to.arms.clone(),
            _ => {
                let message =
                    "give one of `arms`, `weights` and `latest`, or what else is to change";
                return Err(InferError::Invalid(message.to_owned()));
            }
        };
        Ok(TrafficSpec {
            arms,
            sticky: self.sticky.clone().unwrap_or_else(|| to.sticky.clone()),
            shadow: self.shadow.clone().unwrap_or_else(|| to.shadow.clone()),
            matches: self.matches.clone().unwrap_or_else(|| to.matches.clone()),
        })
    }

    fn touches_others(&self) -> bool {
        self.sticky.is_some() || self.shadow.is_some() || self.matches.is_some()
    }

    fn touches_arms(&self) -> bool {
        self.arms.is_some() || self.weights.is_some() || self.latest
    }
}

impl Operator {
    /// Changes a model's traffic. All its versions must be loaded.
    pub async fn edit(&self, model: &str, edit: &Edit, by: &By) -> Result<Document, InferError> {
        let draft = |standing: &Standing| {
            let current = standing.history.current();
            let open = rollout::open(current);
            if let Some(open) = open.filter(|_| edit.touches_arms()) {
                return Err(InferError::Conflict(format!(
                    "a rollout of version {} over {} moves the weights of {model}: abort or promote it, \
                     or roll back",
                    open.to, open.from
                )));
            }
            let before = current.map(|d| d.traffic.clone()).unwrap_or_default();
            // What followed the files keeps what they give, when only the rest is changed.
            let traffic = edit.apply(&before)?;
            let named = traffic.versions();
            if let Some(missing) = named.iter().find(|v| !standing.versions.contains_key(v)) {
                let loaded: Vec<_> = standing.versions.keys().map(u64::to_string).collect();
                let loaded = loaded.join(", ");
                return Err(InferError::Conflict(format!(
                    "version {missing} of {model} is not loaded; loaded: {loaded}"
                )));
            }
            let bandit = current.and_then(|d| d.bandit.clone()).filter(|_| !edit.touches_arms());
            let rollout = current.and_then(|d| d.rollout.clone()).filter(|_| !edit.touches_arms());
            Ok(Draft { traffic, rollout, bandit, ..Draft::default() })
        };
        self.change(model, Kind::Traffic, by, draft).await
    }

    /// Brings an earlier document back: the one before, or a certain one. A version of it that is not
    /// loaded is loaded first; what is served goes on until then.
    pub async fn roll_back(
        &self,
        model: &str,
        to: Option<u64>,
        by: &By,
    ) -> Result<Document, InferError> {
        let draft = |standing: &Standing| {
            let earlier = match to {
                Some(revision) => standing.history.at(revision),
                None => standing.history.earlier(),
            };
            let earlier = earlier.map_err(|e| InferError::Conflict(format!("{model}: {e}")))?;
            let rollout = rollout::open(standing.history.current());
            let rollout = rollout.map(|r| Rollout { state: Progress::Aborted, ..r.clone() });
            Ok(Draft {
                traffic: earlier.traffic,
                slots: earlier.slots,
                restores: earlier.revision,
                rollout,
                bandit: None,
            })
        };
        self.change(model, Kind::Rollback, by, draft).await
    }

    /// Starts a rollout.
    pub async fn start_rollout(
        &self,
        model: &str,
        start: &Start,
        by: &By,
    ) -> Result<Document, InferError> {
        let draft = |standing: &Standing| {
            if let Some(open) = rollout::open(standing.history.current()) {
                return Err(InferError::Conflict(format!(
                    "a rollout of version {} over {} of {model} goes on already",
                    open.to, open.from
                )));
            }
            let weights = standing.weights();
            let most = weights.iter().max_by_key(|(_, w)| **w).map(|(v, _)| *v);
            let from = start.from.or(most).ok_or_else(|| {
                InferError::Conflict(format!(
                    "{model} serves nothing that {} could replace",
                    start.to
                ))
            })?;
            if !standing.known.contains(&start.to) {
                let known: Vec<_> = standing.known.iter().map(u64::to_string).collect();
                return Err(InferError::Conflict(format!(
                    "{model} has no version {}; there are {}",
                    start.to,
                    known.join(", ")
                )));
            }
            let rollout = start.rollout(from).map_err(InferError::Invalid)?;
            let before = standing.history.current().map(|d| d.traffic.clone()).unwrap_or_default();
            let traffic = rollout.traffic(&before);
            Ok(Draft { traffic, rollout: Some(rollout), ..Draft::default() })
        };
        self.change(model, Kind::Rollout, by, draft).await
    }

    /// Pauses, resumes, aborts or promotes the rollout that goes on.
    pub async fn steer(&self, model: &str, steer: Steer, by: &By) -> Result<Document, InferError> {
        let draft = |standing: &Standing| {
            let current = standing.history.current();
            let open = current.and_then(|d| Some((d, rollout::open(Some(d))?)));
            let (document, open) =
                open.ok_or_else(|| InferError::Conflict(format!("no rollout of {model} goes on")))?;
            let rollout = open.steered(steer).map_err(|why| {
                InferError::Conflict(format!("the rollout of {model} can't do that: {why}"))
            })?;
            let traffic = rollout.traffic(&document.traffic);
            Ok(Draft { traffic, rollout: Some(rollout), ..Draft::default() })
        };
        self.change(model, Kind::Rollout, by, draft).await
    }

    /// Has a bandit move the weights, or none any more.
    pub async fn set_bandit(
        &self,
        model: &str,
        bandit: Option<Bandit>,
        by: &By,
    ) -> Result<Document, InferError> {
        let draft = |standing: &Standing| {
            let document = standing.history.current().filter(|d| !d.traffic.arms.is_empty());
            let document = document.ok_or_else(|| {
                InferError::Conflict(format!("{model} has no arms yet: set its traffic first"))
            })?;
            if rollout::open(Some(document)).is_some() {
                let message = format!("a rollout moves the weights of {model}");
                return Err(InferError::Conflict(message));
            }
            if let Some(bandit) = &bandit {
                bandit.check(document.traffic.arms.len()).map_err(InferError::Invalid)?;
            }
            let traffic = document.traffic.clone();
            Ok(Draft { traffic, bandit: bandit.clone(), ..Draft::default() })
        };
        self.change(model, Kind::Bandit, by, draft).await
    }
}

impl Rollout {
    /// As it is after a person's word, or why that makes no sense.
    fn steered(&self, steer: Steer) -> Result<Rollout, &'static str> {
        use Progress::{Aborted, Done, Paused, Preparing, Running};
        let with = |step, state| Ok(Rollout { step, state, ..self.clone() });
        match (steer, self.state) {
            (Steer::Abort, _) => with(self.step, Aborted),
            (Steer::Pause, Running) => with(self.step, Paused),
            (Steer::Pause, _) => Err("it does not run"),
            (Steer::Resume, Paused) => with(self.step, Running),
            (Steer::Resume, _) => Err("it is not paused"),
            (Steer::Promote, Preparing) => Err("its golden requests have not been tried yet"),
            (Steer::Promote, _) if self.step + 1 < self.steps.len() => {
                with(self.step + 1, self.state)
            }
            (Steer::Promote, _) => with(self.step, Done),
        }
    }
}
