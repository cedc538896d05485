//! The feedback of one version of a model.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::quality::Quality;
use super::seen::Seen;
use super::tally::{Class, Observation, Tally};
use super::window::{LONGEST, Windows, sum};
use super::{Feedback, FeedbackError, MAX_NUMBER};
use crate::prediction_id::PredictionId;

/// Classes counted one by one: the first that occur. The others are counted together.
pub const MAX_CLASSES: usize = 1000;

/// Counts the feedback of one version. Its lock is held for microseconds and never by a prediction.
///
/// Takes 4.5 MiB at most to know duplicates. The counts of the last hour take 360 times some 70
/// bytes a class that occurs within ten seconds: a quarter of a MiB for ten classes, and 24 MiB at
/// worst, for a thousand classes all the time.
pub struct Ledger(Mutex<State>);

struct State {
    seen: Seen,
    classes: HashSet<u32>,
    total: Arc<Tally>,
    windows: Windows,
}

/// How good a version was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// Since it was loaded.
    pub total: Quality,
    /// In the last five minutes.
    pub last_5m: Quality,
    /// In the last hour.
    pub last_1h: Quality,
}

impl Ledger {
    /// Nothing counted yet.
    pub fn new(now: Instant) -> Ledger {
        Ledger(Mutex::new(State {
            seen: Seen::default(),
            classes: HashSet::new(),
            total: Arc::default(),
            windows: Windows::new(now),
        }))
    }

    /// Counts what was said of a row of the answer `id`; `false` if it was said before. `id` must
    /// be of this ledger's model and version.
    pub fn record(
        &self,
        id: &PredictionId,
        feedback: &Feedback,
        now: Instant,
    ) -> Result<bool, FeedbackError> {
        let judged = judge(id.classes(), feedback)?;
        let mut state = self.lock();
        if !state.seen.insert(id.unique(), feedback.row) {
            return Ok(false);
        }
        let classes = judged.classes.map(|(t, p)| (state.admit(t), state.admit(p)));
        let Feedback { reward, value, .. } = *feedback;
        let observation = Observation { correct: judged.correct, classes, reward, value };
        Arc::make_mut(&mut state.total).push(&observation);
        state.windows.push(&observation, now);
        Ok(true)
    }

    /// How good the version was until `now`.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let state = self.lock();
        let total = Arc::clone(&state.total);
        let last_5m = state.windows.last(Duration::from_secs(300), now);
        let last_1h = state.windows.last(LONGEST, now);
        drop(state);
        Snapshot {
            total: Quality::of(&total),
            last_5m: Quality::of(&sum(&last_5m)),
            last_1h: Quality::of(&sum(&last_1h)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&mut self, class: u32) -> Class {
        if self.classes.len() < MAX_CLASSES {
            self.classes.insert(class);
        }
        self.classes.contains(&class).then_some(class)
    }
}

struct Judged {
    correct: Option<bool>,
    /// True and predicted.
    classes: Option<(u32, u32)>,
}

fn judge(classes: &[u32], feedback: &Feedback) -> Result<Judged, FeedbackError> {
    let Feedback { row, label, correct, reward, value } = *feedback;
    if label.is_none() && correct.is_none() && reward.is_none() && value.is_none() {
        return Err(FeedbackError::Empty);
    }
    let predicted = classes.get(row as usize).copied();
    if predicted.is_none() && !classes.is_empty() {
        return Err(FeedbackError::Row { row, rows: classes.len() });
    }
    for (name, number) in [("reward", reward), ("value", value)] {
        if let Some(number) = number.filter(|n| !n.is_finite() || n.abs() > MAX_NUMBER) {
            return Err(FeedbackError::Number { name, number });
        }
    }
    match (label, predicted, correct) {
        (Some(label), Some(predicted), Some(correct)) if correct != (label == predicted) => {
            Err(FeedbackError::Contradiction { label, correct, predicted })
        }
        (Some(label), Some(predicted), _) => {
            Ok(Judged { correct: feedback.right(classes), classes: Some((label, predicted)) })
        }
        (Some(_), None, None) => Err(FeedbackError::NoClass),
        _ => Ok(Judged { correct: feedback.right(classes), classes: None }),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
