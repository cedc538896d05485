//! What a store tells those who listen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{StoreError, Watch};

/// Whether a store can be reached, all in it be read, and the last that was to be written was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// Something is wrong.
    Failing {
        /// What.
        error: String,
        /// Since when, though the error may have been another one then.
        since: Timestamp,
    },
}

impl Health {
    /// What is wrong.
    pub fn error(&self) -> Option<&str> {
        match self {
            Health::Ok => None,
            Health::Failing { error, .. } => Some(error),
        }
    }
}

/// The sending side of a [`Watch`].
pub struct Signals {
    changes: watch::Sender<u64>,
    health: watch::Sender<Health>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Why the store can't be reached.
    away: Option<String>,
    /// Why the last write failed. It can be read all the same.
    refused: Option<String>,
    /// What is wrong with what it holds.
    troubles: Vec<String>,
    /// The highest revision ever seen of each model.
    highest: BTreeMap<String, u64>,
}

impl Signals {
    /// All is well.
    pub fn new() -> Signals {
        Signals {
            changes: watch::Sender::new(0),
            health: watch::Sender::new(Health::Ok),
            state: Mutex::default(),
        }
    }

    /// Nothing is known yet.
    pub fn unknown() -> Signals {
        let error = "not reached yet".to_owned();
        let signals = Signals::new();
        signals.lock().away = Some(error.clone());
        signals.health.send_replace(Health::Failing { error, since: Timestamp::now() });
        signals
    }

    /// A receiver of all of this.
    pub fn watch(&self) -> Watch {
        Watch { changes: self.changes.subscribe(), health: self.health.subscribe() }
    }

    /// Loading would give something else now.
    pub fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The store was read: the last revision of each model, and what is wrong with them. A
    /// revision that was seen and is no longer there is wrong, too.
    pub fn read(&self, last: &BTreeMap<String, u64>, mut troubles: Vec<String>) {
        let mut state = self.lock();
        for (model, revision) in last {
            let highest = state.highest.entry(model.clone()).or_default();
            *highest = (*highest).max(*revision);
        }
        for (model, highest) in &state.highest {
            let revision = last.get(model).copied().unwrap_or_default();
            if revision < *highest {
                troubles.push(format!("{model}: revision {highest} is gone"));
            }
        }
        state.away = None;
        state.troubles = troubles;
        self.tell(&state);
    }

    /// The store answers, and holds what it did.
    pub fn back(&self) {
        let mut state = self.lock();
        state.away = None;
        self.tell(&state);
    }

    /// The store can't be reached.
    pub fn away(&self, error: String) {
        let mut state = self.lock();
        state.away = Some(error);
        self.tell(&state);
    }

    /// How a write went. That somebody else was faster says nothing.
    pub fn wrote(&self, result: &Result<(), StoreError>) {
        let refused = match result {
            Ok(()) => None,
            Err(StoreError::Unreachable { place, error }) => {
                Some(format!("{place} can't be written: {error}"))
            }
            Err(_) => return,
        };
        let mut state = self.lock();
        state.refused = refused;
        self.tell(&state);
    }

    /// Whether the last write failed.
    pub fn is_refused(&self) -> bool {
        self.lock().refused.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &State) {
        let error = state.away.clone().or_else(|| {
            let troubles: Vec<_> = state.refused.iter().chain(&state.troubles).cloned().collect();
            (!troubles.is_empty()).then(|| troubles.join("; "))
        });
        self.health.send_if_modified(|health| {
            if health.error() == error.as_deref() {
                return false;
            }
            match &error {
                Some(error) => tracing::warn!(error, "the traffic store is failing"),
                None => tracing::info!("the traffic store is well"),
            }
            let since = match health {
                Health::Failing { since, .. } => *since,
                Health::Ok => Timestamp::now(),
            };
            *health = error.map_or(Health::Ok, |error| Health::Failing { error, since });
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(model: &str, revision: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(model.to_owned(), revision)])
    }

    #[test]
    fn tells_since_when_and_only_what_is_new() {
        let signals = Signals::new();
        let mut health = signals.watch().health;
        signals.back();
        assert!(!health.has_changed().unwrap());
        signals.away("refused".to_owned());
        let Health::Failing { since, .. } = health.borrow_and_update().clone() else {
            panic!("well")
        };
        signals.away("refused".to_owned());
        assert!(!health.has_changed().unwrap());
        signals.away("timed out".to_owned());
        let error = "timed out".to_owned();
        assert_eq!(*health.borrow(), Health::Failing { error, since });
        signals.back();
        assert_eq!(*health.borrow(), Health::Ok);
    }

    #[test]
    fn what_is_wrong_inside_outlasts_an_outage() {
        let signals = Signals::unknown();
        let health = signals.watch().health;
        assert_eq!(health.borrow().error(), Some("not reached yet"));
        signals.read(&last("m", 1), vec!["m: torn".to_owned()]);
        signals.away("refused".to_owned());
        assert_eq!(health.borrow().error(), Some("refused"));
        signals.back();
        assert_eq!(health.borrow().error(), Some("m: torn"));
        signals.read(&last("m", 2), Vec::new());
        assert_eq!(health.borrow().error(), None);
    }

    #[test]
    fn one_that_can_be_read_and_not_written_is_not_well() {
        let signals = Signals::new();
        let health = signals.watch().health;
        let (place, error) = ("here".to_owned(), "read-only".to_owned());
        signals.wrote(&Err(StoreError::Unreachable { place, error }));
        signals.read(&last("m", 1), vec!["m: torn".to_owned()]);
        assert_eq!(health.borrow().error(), Some("here can't be written: read-only; m: torn"));
        let conflict = StoreError::Conflict { model: "m".to_owned(), expected: 2, found: 3 };
        signals.wrote(&Err(conflict));
        assert!(signals.is_refused());
        signals.wrote(&Ok(()));
        assert_eq!(health.borrow().error(), Some("m: torn"));
    }

    #[test]
    fn what_was_seen_and_is_gone_is_missed_until_it_is_back() {
        let signals = Signals::new();
        let health = signals.watch().health;
        signals.read(&last("m", 7), Vec::new());
        signals.read(&BTreeMap::new(), Vec::new());
        assert_eq!(health.borrow().error(), Some("m: revision 7 is gone"));
        signals.read(&last("m", 7), Vec::new());
        assert_eq!(health.borrow().error(), None);
    }
}
