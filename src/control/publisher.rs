//! Joins what is loaded with what traffic is wanted into the next routing snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::traffic::{History, Table, Traffic};
use crate::error::InferError;
use crate::router::{ModelRoutes, Router, ServedVersion, Snapshot, Split, VersionStatus};
use crate::telemetry::metrics::Metrics;

/// The one writer of the router. Its lock is held for microseconds and never by a request.
pub struct Publisher {
    router: Arc<Router>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    revision: u64,
    models: HashMap<String, ModelState>,
}

#[derive(Default)]
struct ModelState {
    loaded: Loaded,
    history: History,
    configured: Option<Traffic>,
}

/// What the repository knows of a model.
#[derive(Clone, Default)]
pub struct Loaded {
    /// Versions that are loaded and warm.
    pub versions: BTreeMap<u64, Arc<ServedVersion>>,
    /// Versions on disk that `[versions]` asks for, loaded or not. Others may be loaded too, to be
    /// gone back to.
    pub selected: BTreeSet<u64>,
    /// Labels of `model.toml`.
    pub labels: BTreeMap<String, u64>,
    /// Every version known.
    pub statuses: BTreeMap<u64, VersionStatus>,
    /// Why the model as a whole can't be served.
    pub problem: Option<String>,
}

impl Publisher {
    /// A publisher into `router`.
    pub fn new(router: Arc<Router>, metrics: Arc<Metrics>) -> Publisher {
        Publisher { router, metrics, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the repository now has of a model, and the traffic its `model.toml` asks for.
    pub fn set_model(&self, name: &str, loaded: Loaded, configured: Traffic) {
        let mut state = self.lock();
        let model = state.models.entry(name.to_owned()).or_default();
        model.loaded = loaded;
        // A file that did not change its mind does not undo what an operator set since.
        if model.configured.as_ref() != Some(&configured) {
            model.history.want(configured.clone(), "model.toml", "the [traffic] of model.toml");
            model.configured = Some(configured);
        }
        self.publish(state);
    }

    /// The model is gone from the repository.
    pub fn remove_model(&self, name: &str) {
        let mut state = self.lock();
        if state.models.remove(name).is_some() {
            self.publish(state);
        }
    }

    /// Sets a model's traffic. All its versions must be loaded.
    pub fn set_traffic(
        &self,
        name: &str,
        traffic: Traffic,
        author: &str,
        reason: &str,
    ) -> Result<Table, InferError> {
        self.change(name, |model| {
            if let Traffic::Weighted(weights) = &traffic {
                Split::new(weights).map_err(|e| InferError::Invalid(e.to_string()))?;
                let loaded = &model.loaded.versions;
                if let Some(missing) = weights.keys().find(|v| !loaded.contains_key(v)) {
                    let loaded: Vec<_> = loaded.keys().map(u64::to_string).collect();
                    let loaded = loaded.join(", ");
                    return Err(InferError::Conflict(format!(
                        "version {missing} of {name} is not loaded; loaded: {loaded}"
                    )));
                }
            }
            model.history.want(traffic, author, reason);
            Ok(())
        })
    }

    /// Brings the table before the one in force back.
    pub fn roll_back(&self, name: &str, author: &str) -> Result<Table, InferError> {
        self.change(name, |model| {
            let available = model.loaded.versions.keys().copied().collect();
            let back = model.history.want_back(&available, author);
            back.map_err(|e| InferError::Conflict(format!("{name}: {e}")))
        })
    }

    /// A model's tables, the one in force last.
    pub fn tables(&self, name: &str) -> Result<(Vec<Table>, bool), InferError> {
        let mut state = self.lock();
        let history = &model(&mut state, name)?.history;
        Ok((history.tables().to_vec(), *history.wanted() == Traffic::Latest))
    }

    /// Versions of a model that must stay loaded: its traffic, and `keep` tables before it.
    pub fn retained(&self, name: &str, keep: usize) -> BTreeSet<u64> {
        self.lock().models.get(name).map(|m| m.history.retained(keep)).unwrap_or_default()
    }

    fn change(
        &self,
        name: &str,
        f: impl FnOnce(&mut ModelState) -> Result<(), InferError>,
    ) -> Result<Table, InferError> {
        let mut state = self.lock();
        f(model(&mut state, name)?)?;
        let snapshot = self.publish(state);
        let mut state = self.lock();
        let table = model(&mut state, name)?.history.tables().last().cloned();
        let table =
            table.ok_or_else(|| InferError::Conflict(format!("{name} serves nothing yet")))?;
        tracing::info!(model = name, revision = table.revision, weights = ?table.weights,
            author = table.author, reason = table.reason, snapshot, "traffic changed");
        Ok(table)
    }

    fn publish(&self, mut state: MutexGuard<'_, State>) -> u64 {
        state.revision += 1;
        let revision = state.revision;
        let models = state.models.iter_mut().map(|(name, m)| (name.clone(), m.routes())).collect();
        // Stored under the lock, so that a later snapshot can't be overtaken by an earlier one.
        self.router.publish(Arc::new(Snapshot { revision, models }));
        self.metrics.revision.set(revision as i64);
        revision
    }
}

fn model<'a>(state: &'a mut State, name: &str) -> Result<&'a mut ModelState, InferError> {
    state.models.get_mut(name).ok_or_else(|| InferError::UnknownModel(name.to_owned()))
}

impl ModelState {
    fn routes(&mut self) -> ModelRoutes {
        let available = self.loaded.versions.keys().copied().collect();
        self.history.select(&self.loaded.selected);
        let weights = self.history.settle(&available);
        let Loaded { versions, labels, statuses, problem, .. } = self.loaded.clone();
        let split = weights.and_then(|w| Split::new(&w).ok());
        ModelRoutes { versions, labels, split, statuses, problem }
    }
}
