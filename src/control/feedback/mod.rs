//! How good a version really is, as callers tell it afterwards.
//!
//! The REST door parses the answer's [`PredictionId`](crate::prediction_id::PredictionId), finds
//! the version's [`Ledger`] and calls [`Ledger::record`]; metrics, rollouts and experiments read
//! [`Ledger::snapshot`]. [`seen`] knows duplicates, [`tally`] counts, [`window`] forgets, and
//! [`quality`] turns counts into numbers; all of them are pure, the ledger is their lock.

mod ledger;
mod quality;
mod seen;
mod tally;
mod window;

pub use ledger::{Ledger, Snapshot};
pub use quality::{ClassQuality, Quality};
pub use tally::Moments;

/// What a caller says of one row of an answer. All of it in one message: a second one about the
/// same row is taken for a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Feedback {
    /// Which row of the answer.
    pub row: u32,
    /// The class it really was.
    pub label: Option<u32>,
    /// Whether the answer was right.
    pub correct: Option<bool>,
    /// What the answer was worth.
    pub reward: Option<f64>,
    /// Any other number to follow.
    pub value: Option<f64>,
}

impl Feedback {
    /// Whether the answer was right, as far as this says so; `classes` are the predicted ones, one a row.
    pub fn right(&self, classes: &[u32]) -> Option<bool> {
        let predicted = classes.get(self.row as usize);
        self.label.zip(predicted).map(|(label, class)| label == *class).or(self.correct)
    }
}

/// Why feedback can't be taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FeedbackError {
    /// It says nothing.
    #[error("the feedback has neither label nor correct, reward or value")]
    Empty,
    /// The answer had fewer rows.
    #[error("row is {row}, but the answer had {rows} rows (counted from 0)")]
    Row {
        /// The row it is about.
        row: u32,
        /// Rows of the answer.
        rows: usize,
    },
    /// Nobody knows what was predicted.
    #[error(
        "the request id has no predicted class to compare the label with: set `[feedback] class = \
         true` in the model's model.toml for later answers, or send `correct`"
    )]
    NoClass,
    /// It says two different things.
    #[error(
        "label is {label} and correct is {correct}, but the predicted class of the row is \
         {predicted}: send one of the two"
    )]
    Contradiction {
        /// The class it is said to be.
        label: u32,
        /// What is said of the answer.
        correct: bool,
        /// The answer.
        predicted: u32,
    },
    /// No number to count with.
    #[error("{name} is {number}, expected a finite number of at most {MAX_NUMBER:e}")]
    Number {
        /// `reward` or `value`.
        name: &'static str,
        /// What it is.
        number: f64,
    },
}

/// Greatest reward or value; the sum of the squares must stay finite.
pub const MAX_NUMBER: f64 = 1e100;
