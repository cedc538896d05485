//! What a rollout does next. Pure.

use std::time::Duration;

use super::{ALPHA, Progress, Rollout};
use crate::stats::{ArmFigures, Gate, GateState as State, Judgement};

/// What is seen of a rollout's step.
#[derive(Clone, Debug)]
pub struct Look {
    /// Since the step began, by this replica's clock.
    pub in_step: Duration,
    /// What the gates say, in the rollout's order.
    pub gates: Vec<Judgement>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Wait, and for what.
    Hold(String),
    /// Give the candidate its first traffic.
    Begin,
    /// Take the next step.
    Advance,
    /// The last step held.
    Complete,
    /// Back to the baseline, and why.
    RollBack(String),
}

impl Look {
    /// Has the gates judge the figures of a step. The chance of a wrong breach is shared out among all
    /// gates at all steps.
    pub fn at(rollout: &Rollout, in_step: Duration, arms: [&ArmFigures; 2]) -> Look {
        let [baseline, candidate] = arms;
        let looks = rollout.gates.len() * rollout.steps.len();
        let alpha = ALPHA / looks.max(1) as f64;
        let judge = |gate: &Gate| gate.judge(candidate, baseline, rollout.min_samples, alpha);
        Look { in_step, gates: rollout.gates.iter().map(judge).collect() }
    }
}

/// A breach is acted on at once, even while a person has paused it: who looks at a candidate has not said
/// that it may fail. A step is left when its interval is over and every gate holds; one that
/// has not decided by the timeout counts as breached, since nothing says that the candidate is good.
pub fn decide(rollout: &Rollout, look: &Look) -> Decision {
    if !matches!(rollout.state, Progress::Running | Progress::Paused) {
        return Decision::Hold("it does not run".to_owned());
    }
    let named = || rollout.gates.iter().zip(&look.gates);
    if let Some((gate, judged)) = named().find(|(_, j)| j.state == State::Breached) {
        return Decision::RollBack(format!("{gate} is breached: {}", judged.detail));
    }
    if rollout.state == Progress::Paused {
        return Decision::Hold("it is paused".to_owned());
    }
    if look.in_step < rollout.interval.get() {
        return Decision::Hold("the step's interval is not over".to_owned());
    }
    if let Some((gate, judged)) = named().find(|(_, j)| j.state == State::Waiting) {
        let what = format!("{gate} has not decided: {}", judged.detail);
        if look.in_step < rollout.timeout.get() {
            return Decision::Hold(what);
        }
        return Decision::RollBack(format!("the step's time is over and {what}"));
    }
    // What lies behind the last step is the whole.
    if rollout.step + 1 < rollout.steps.len() { Decision::Advance } else { Decision::Complete }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
