//! Documents in memory: for tests, and where nothing can be written. They end with the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, ready};

use super::signals::Signals;
use super::{Document, Histories, KEPT, Store, StoreError, Watch, check, check_history, compare};

/// Keeps documents as long as the process lives.
pub struct MemoryStore {
    state: Mutex<State>,
    signals: Signals,
}

#[derive(Default)]
struct State {
    histories: Histories,
    away: Option<String>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> MemoryStore {
        MemoryStore { state: Mutex::default(), signals: Signals::new() }
    }

    /// Plays one that can't be reached, for tests; `None` ends that.
    pub fn set_away(&self, error: Option<&str>) {
        self.lock().away = error.map(str::to_owned);
        match error {
            Some(error) => self.signals.away(error.to_owned()),
            None => self.signals.back(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if it can be reached.
    fn reach(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        match state.away.clone() {
            Some(error) => Err(StoreError::Unreachable { place: self.place(), error }),
            None => Ok(state),
        }
    }

    fn add(&self, model: &str, document: Document) -> Result<(), StoreError> {
        check(model, &document)?;
        let mut state = self.reach()?;
        let last = state.histories.get(model).and_then(|h| h.last()).map_or(0, |d| d.revision);
        compare(model, last, document.revision)?;
        let history = state.histories.entry(model.to_owned()).or_default();
        history.push(document);
        history.drain(..history.len().saturating_sub(KEPT));
        self.signals.changed();
        Ok(())
    }

    fn give_back(&self, model: &str, history: Vec<Document>) -> Result<(), StoreError> {
        let history = check_history(model, history)?;
        let mut state = self.reach()?;
        let known = state.histories.entry(model.to_owned()).or_default();
        let last = known.last().map_or(0, |d| d.revision);
        known.extend(history.into_iter().filter(|d| d.revision > last));
        known.drain(..known.len().saturating_sub(KEPT));
        self.signals.changed();
        Ok(())
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "this process".to_owned()
    }

    fn load(&self) -> BoxFuture<'_, Result<Histories, StoreError>> {
        Box::pin(ready(self.reach().map(|state| state.histories.clone())))
    }

    fn publish<'a>(
        &'a self,
        model: &'a str,
        document: Document,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(ready(self.add(model, document)))
    }

    fn restore<'a>(
        &'a self,
        model: &'a str,
        history: Vec<Document>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(ready(self.give_back(model, history)))
    }

    fn watch(&self) -> Watch {
        self.signals.watch()
    }
}
