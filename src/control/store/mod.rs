//! Where the models' traffic documents are kept, for all replicas to see.
//!
//! A store keeps each model's last [`KEPT`] documents and adds one only if nobody else was faster.
//! It never decides anything: what is in force is its caller's business, and so is to go on with
//! what was seen when the store loses it.

mod file;
mod kubernetes;
mod memory;
mod names;
mod signals;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::document::Document;

pub use file::FileStore;
pub use kubernetes::{KubernetesStore, Pace};
pub use memory::MemoryStore;
pub use signals::Health;

/// Documents of a model that are kept.
pub const KEPT: usize = 32;

/// Documents by model, oldest first.
pub type Histories = BTreeMap<String, Vec<Document>>;

/// Keeps documents.
pub trait Store: Send + Sync {
    /// What it is: `file`, `memory`, `kubernetes`.
    fn kind(&self) -> &'static str;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// All that can be read. A document that can't be is left out and told of by [`Watch::health`],
    /// so revisions may have gaps.
    fn load(&self) -> BoxFuture<'_, Result<Histories, StoreError>>;

    /// Adds a document if its revision is the one above the last that is taken; a document that
    /// can't be read has taken its revision too.
    ///
    /// After [`StoreError::Conflict`], load, and decide again: what to publish next has the revision
    /// that it expected, or the one after the last loaded if that is higher. After
    /// [`StoreError::Unreachable`] the document may be there or not; loading tells.
    fn publish<'a>(
        &'a self,
        model: &'a str,
        document: Document,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Gives a store that was lost, or set back, or passed over, what of a history is above all that it
    /// has of the model. What it has stays, so the revisions may have a gap afterwards.
    fn restore<'a>(
        &'a self,
        model: &'a str,
        history: Vec<Document>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Tells of changes by whomever, and whether the store can be read.
    fn watch(&self) -> Watch;
}

/// How a store is heard.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Changes when loading would give something else. Its number means nothing.
    pub changes: watch::Receiver<u64>,
    /// Whether the store can be reached, and all in it be read.
    pub health: watch::Receiver<Health>,
}

/// Why a store did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else was faster, or the caller has not seen all.
    #[error("{model}: revision {expected} would be next, not {found}")]
    Conflict {
        /// The model.
        model: String,
        /// The revision that the store would take.
        expected: u64,
        /// The revision that it was given.
        found: u64,
    },
    /// It could not be read or written.
    #[error("{place}: {error}")]
    Unreachable {
        /// Where it is.
        place: String,
        /// What went wrong.
        error: String,
    },
    /// What it holds of the model makes no sense, and a person must look.
    #[error("{what}")]
    Corrupt {
        /// What, and why.
        what: String,
    },
    /// No store would take this.
    #[error("{0}")]
    Invalid(String),
}

/// Checks what does not depend on what is stored.
fn check(model: &str, document: &Document) -> Result<(), StoreError> {
    if model.is_empty() {
        return Err(StoreError::Invalid("a model needs a name".to_owned()));
    }
    if document.revision == 0 {
        return Err(StoreError::Invalid(format!("{model}: revisions count from 1")));
    }
    Ok(())
}

/// Checks a history that is to be given back, and cuts it to what is kept.
fn check_history(model: &str, mut history: Vec<Document>) -> Result<Vec<Document>, StoreError> {
    history.iter().try_for_each(|d| check(model, d))?;
    if history.is_empty() || !history.is_sorted_by(|a, b| a.revision < b.revision) {
        return Err(StoreError::Invalid(format!("{model}: this is no history")));
    }
    history.drain(..history.len().saturating_sub(KEPT));
    Ok(history)
}

/// Compares what is offered with what would be next.
fn compare(model: &str, last: u64, found: u64) -> Result<(), StoreError> {
    let expected = last.saturating_add(1);
    if found == expected {
        return Ok(());
    }
    Err(StoreError::Conflict { model: model.to_owned(), expected, found })
}
