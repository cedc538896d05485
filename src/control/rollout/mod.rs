//! A rollout: a candidate takes over from a baseline step by step, as long as its gates hold.
//!
//! A rollout lies in the traffic document that it moves, so it has no state of its own: any replica may
//! take the next step, and the store's compare-and-swap lets one. [`decide`](decide::decide) is pure;
//! [`driver`] looks at the figures and publishes.

mod decide;
pub mod driver;
mod golden;

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use decide::{Decision, Look, decide};
pub use golden::check as check_golden;

use super::document::{Arm, Document, Shadow, TrafficSpec};
use crate::router::SLOTS;
use crate::stats::{Gate, Metric};

/// What the steps are unless they are given: percent of the requests.
const STEPS: [f64; 5] = [1.0, 5.0, 25.0, 50.0, 100.0];

/// The chance that gates together find fault with a candidate that is as good as they ask.
pub const ALPHA: f64 = 0.05;

/// A rollout and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Tells it from others.
    pub id: String,
    /// The baseline.
    pub from: u64,
    /// The candidate.
    pub to: u64,
    /// The candidate's shares, in percent, ascending.
    pub steps: Vec<f64>,
    /// Which of them holds.
    pub step: usize,
    /// Whether it goes on.
    pub state: Progress,
    /// How long a step takes at least.
    #[schema(value_type = String)]
    pub interval: Span,
    /// How long a step may take until its gates have decided.
    #[schema(value_type = String)]
    pub timeout: Span,
    /// Requests of each arm that a gate wants to have seen before it lets the candidate on.
    pub min_samples: u64,
    /// What must hold.
    #[schema(value_type = Vec<String>)]
    pub gates: Vec<Gate>,
}

/// Whether a rollout goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The candidate is being loaded, and tried with its golden requests; it has no traffic yet.
    Preparing,
    /// It does.
    Running,
    /// Not until somebody resumes it.
    Paused,
    /// The candidate has everything.
    Done,
    /// A gate was breached, or had not decided in time: the baseline has everything.
    RolledBack,
    /// Somebody ended it: the baseline has everything.
    Aborted,
}

/// A length of time as people write it: `90s`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(SignedDuration);

/// What a person says to start one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The candidate.
    pub to: u64,
    /// The baseline; without it, the version that has most of the traffic.
    #[serde(default)]
    pub from: Option<u64>,
    /// The candidate's shares, in percent; 1, 5, 25, 50, 100 unless said.
    #[serde(default)]
    pub steps: Option<Vec<f64>>,
    /// How long a step takes at least; `2m` unless said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub interval: Option<Span>,
    /// How long a step may take; fifteen times the interval unless said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Span>,
    /// Requests of each arm that a gate wants to have seen; 100 unless said.
    #[serde(default)]
    pub min_samples: Option<u64>,
    /// What must hold, such as `error_rate<=0.5%`.
    #[serde(default)]
    pub gates: Vec<String>,
    /// Who asks.
    #[serde(default)]
    pub author: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Span {
    /// As the clock has it.
    pub fn get(self) -> Duration {
        self.0.unsigned_abs()
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        let wrong =
            |why: String| format!("`{text}` is no length of time such as 90s, 2m or 1h30m{why}");
        match text.parse::<SignedDuration>() {
            Ok(span) if !span.is_negative() => Ok(Span(span)),
            Ok(_) => Err(wrong(String::new())),
            Err(e) => Err(wrong(format!(": {e}"))),
        }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        format!("{:#}", span.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        Span(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
    }
}

impl Start {
    /// The rollout that is asked for, at its first step. `from` has the traffic now.
    pub fn rollout(&self, from: u64) -> Result<Rollout, String> {
        let steps = self.steps.clone().unwrap_or_else(|| STEPS.to_vec());
        let rising = steps.windows(2).all(|w| w[0] < w[1]);
        let within = steps.iter().all(|s| *s > 0.0 && *s <= 100.0);
        if steps.is_empty() || !rising || !within {
            return Err("steps are percentages that rise, above 0 and up to 100".to_owned());
        }
        if self.to == from {
            return Err(format!("version {from} has the traffic already"));
        }
        let gates = self.gates.iter().map(|g| g.parse::<Gate>().map_err(|e| e.to_string()));
        let interval = self.interval.unwrap_or_else(|| Duration::from_secs(120).into());
        let fifteen = || interval.get().saturating_mul(15).max(Duration::from_secs(60)).into();
        Ok(Rollout {
            id: uuid::Uuid::now_v7().simple().to_string(),
            from,
            to: self.to,
            steps,
            step: 0,
            state: Progress::Preparing,
            interval,
            timeout: self.timeout.unwrap_or_else(fifteen),
            min_samples: self.min_samples.unwrap_or(100),
            gates: gates.collect::<Result<_, _>>()?,
        })
    }
}

impl Rollout {
    /// Whether somebody has to look after it.
    pub fn is_open(&self) -> bool {
        matches!(self.state, Progress::Preparing | Progress::Running | Progress::Paused)
    }

    /// The arms as its state has them, over what else the traffic says.
    pub fn traffic(&self, other: &TrafficSpec) -> TrafficSpec {
        let percent = match self.state {
            Progress::Running | Progress::Paused => self.steps.get(self.step).copied(),
            Progress::Done => Some(100.0),
            Progress::Preparing | Progress::RolledBack | Progress::Aborted => Some(0.0),
        };
        let share = (percent.unwrap_or(0.0) / 100.0 * f64::from(SLOTS)).round() as u32;
        let arms = [(self.from, SLOTS - share), (self.to, share)].into_iter();
        // An arm without weight is loaded all the same.
        let arms = arms.filter(|(_, weight)| *weight > 0 || self.state == Progress::Preparing);
        let arms = arms.map(|(version, weight)| Arm { version, weight }).collect();
        let mut traffic = TrafficSpec { arms, ..other.clone() };
        // Answers can only be compared where both versions answer the same request.
        if self.gates.iter().any(|g| g.metric() == Metric::Agreement) {
            traffic.shadow.retain(|s| s.version != self.to);
            if self.is_open() && self.state != Progress::Preparing {
                traffic.shadow.push(Shadow { version: self.to, percent: 100.0 });
            }
        }
        traffic
    }

    /// As it is after a decision, with the reason; `None` if it stays.
    pub fn after(&self, decision: &Decision) -> Option<(Rollout, String)> {
        let (step, state, reason) = match decision {
            Decision::Hold(_) => return None,
            Decision::Begin => {
                let reason =
                    format!("rollout: version {} begins with {} %", self.to, self.steps[0]);
                (0, Progress::Running, reason)
            }
            Decision::Advance => {
                let (step, to) = (self.step + 1, self.to);
                let percent = self.steps.get(step)?;
                (step, Progress::Running, format!("rollout: version {to} goes on to {percent} %"))
            }
            Decision::Complete => {
                let reason = format!("rollout: version {} has everything", self.to);
                (self.step, Progress::Done, reason)
            }
            Decision::RollBack(why) => {
                let reason = format!("rollout: back to version {}: {why}", self.from);
                (self.step, Progress::RolledBack, reason)
            }
        };
        Some((Rollout { step, state, ..self.clone() }, reason))
    }
}

/// The rollout of a document, if it still goes on.
pub fn open(document: Option<&Document>) -> Option<&Rollout> {
    document.and_then(|d| d.rollout.as_ref()).filter(|r| r.is_open())
}
