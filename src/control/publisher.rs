//! Joins what is loaded with what traffic is wanted into the next routing snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::document::Document;
use super::history::{History, Traffic, merge};
use crate::error::InferError;
use crate::router::{ModelRoutes, Plan, Router, SLOTS, ServedVersion, Snapshot, VersionStatus};
use crate::telemetry::metrics::Metrics;

/// Is told of a model.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// The one writer of the router. Its lock is held for microseconds and never by a request.
pub struct Publisher {
    router: Arc<Router>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Called with the model whose traffic became another.
    on_change: OnceLock<Tell>,
}

#[derive(Default)]
struct State {
    revision: u64,
    models: HashMap<String, ModelState>,
    /// Of models that the repository has not told of, or no longer has.
    unclaimed: HashMap<String, Vec<Document>>,
}

struct ModelState {
    loaded: Loaded,
    history: History,
    /// When the document in force came, by this process' clock.
    since: Instant,
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
    /// Whether a request has it loaded that finds it is not.
    pub on_demand: bool,
    /// Why the model as a whole can't be served.
    pub problem: Option<String>,
}

/// A model's traffic at one moment.
#[derive(Clone)]
pub struct Standing {
    /// Its documents and what is beneath them.
    pub history: History,
    /// What is served.
    pub plan: Option<Plan>,
    /// When the newest document came, by this process' clock.
    pub since: Instant,
    /// Versions that are loaded and warm.
    pub versions: BTreeMap<u64, Arc<ServedVersion>>,
    /// Versions that are in the repository, loaded or not.
    pub known: BTreeSet<u64>,
}

impl Standing {
    /// Basis points by version, as they are served; none if nothing is.
    pub fn weights(&self) -> BTreeMap<u64, u32> {
        self.plan.as_ref().map(|plan| plan.slots.weights()).unwrap_or_default()
    }
}

impl Publisher {
    /// A publisher into `router`.
    pub fn new(router: Arc<Router>, metrics: Arc<Metrics>) -> Publisher {
        Publisher { router, metrics, state: Mutex::default(), on_change: OnceLock::new() }
    }

    /// Has `tell` called with the model whose traffic became another. Only the first caller is heard.
    pub fn on_change(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        drop(self.on_change.set(Box::new(tell)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the repository now has of a model, and the traffic its `model.toml` asks for.
    pub fn set_model(&self, name: &str, loaded: Loaded, configured: Traffic) {
        let mut state = self.lock();
        let State { models, unclaimed, .. } = &mut *state;
        let model = models.entry(name.to_owned()).or_insert_with(|| {
            let mut history = History::default();
            history.adopt(unclaimed.remove(name).unwrap_or_default());
            ModelState { loaded: Loaded::default(), history, since: Instant::now() }
        });
        model.loaded = loaded;
        model.history.set_base(configured);
        self.publish(state);
    }

    /// The model is gone from the repository. What it was given is kept, for when it comes back.
    pub fn remove_model(&self, name: &str) {
        let mut state = self.lock();
        if let Some(model) = state.models.remove(name) {
            let documents = model.history.documents().to_vec();
            state.unclaimed.insert(name.to_owned(), documents);
            self.publish(state);
        }
    }

    /// Takes over a model's documents, which were stored, as far as they are newer than what is here:
    /// a replica that is behind never takes another one back. Tells whether any was.
    pub fn adopt(&self, name: &str, documents: Vec<Document>) -> bool {
        let mut state = self.lock();
        let Some(model) = state.models.get_mut(name) else {
            let known = state.unclaimed.entry(name.to_owned()).or_default();
            return merge(known, documents);
        };
        if !model.history.adopt(documents) {
            return false;
        }
        model.since = Instant::now();
        let newest = model.history.current().cloned();
        let snapshot = self.publish(state);
        if let Some(d) = newest {
            let traffic: BTreeMap<u64, u32> = d.traffic.weights();
            tracing::info!(
                model = name,
                revision = d.revision,
                ?traffic,
                author = d.author,
                reason = d.reason,
                snapshot,
                "traffic changed"
            );
            self.metrics
                .delivery
                .traffic_revision
                .with_label_values(&[name])
                .set(d.revision as i64);
        }
        if let Some(tell) = self.on_change.get() {
            tell(name);
        }
        true
    }

    /// A model's traffic.
    pub fn standing(&self, name: &str) -> Result<Standing, InferError> {
        let state = self.lock();
        let model = state.models.get(name);
        let model = model.ok_or_else(|| InferError::UnknownModel(name.to_owned()))?;
        Ok(Standing {
            history: model.history.clone(),
            plan: model.history.held().cloned(),
            since: model.since,
            versions: model.loaded.versions.clone(),
            known: model.loaded.statuses.keys().copied().collect(),
        })
    }

    /// The models that are there.
    pub fn models(&self) -> Vec<String> {
        self.lock().models.keys().cloned().collect()
    }

    /// Versions that a model's traffic needs.
    pub fn needed(&self, name: &str) -> BTreeSet<u64> {
        self.lock().models.get(name).map(|m| m.history.needed()).unwrap_or_default()
    }

    /// Whether a rollout moves a model's traffic.
    pub fn rolls_out(&self, name: &str) -> bool {
        let state = self.lock();
        let current = state.models.get(name).and_then(|m| m.history.current());
        current.and_then(|d| d.rollout.as_ref()).is_some_and(|rollout| rollout.is_open())
    }

    /// Versions that going back up to `keep` times would need, the likeliest first.
    pub fn retained(&self, name: &str, keep: usize) -> Vec<u64> {
        self.lock().models.get(name).map(|m| m.history.retained(keep)).unwrap_or_default()
    }

    fn publish(&self, mut state: MutexGuard<'_, State>) -> u64 {
        state.revision += 1;
        let revision = state.revision;
        let models = state.models.iter_mut();
        let models = models.map(|(name, m)| (name.clone(), m.routes(name))).collect();
        // Stored under the lock, so that a later snapshot can't be overtaken by an earlier one.
        self.router.publish(Arc::new(Snapshot { revision, models }));
        self.metrics.revision.set(revision as i64);
        revision
    }
}

impl ModelState {
    fn routes(&mut self, name: &str) -> ModelRoutes {
        let available = self.loaded.versions.keys().copied().collect();
        self.history.select(&self.loaded.selected);
        let plan = self.history.settle(name, &available);
        if let Some(plan) = &plan {
            let weights = plan.slots.weights();
            for (version, served) in &self.loaded.versions {
                let weight = weights.get(version).copied().unwrap_or(0);
                served.queue.hold_back((1..SLOTS / 2).contains(&weight));
            }
        }
        let Loaded { versions, labels, statuses, on_demand, problem, .. } = self.loaded.clone();
        ModelRoutes { versions, labels, plan, statuses, on_demand, problem }
    }
}
