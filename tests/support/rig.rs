//! A repository's control loop without the doors: what it serves is asked of the router.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli::batcher::{Limits, Priority, Rule, Scheduler, Threads};
use ocelli::control::events::Events;
use ocelli::control::store::MemoryStore;
use ocelli::control::{By, Document, Edit, Operator, Publisher};
use ocelli::error::InferError;
use ocelli::repository::load::Loader;
use ocelli::repository::{Commands, Reconciler, ReconcilerSettings};
use ocelli::router::{Asked, Attribute, ModelSpec, Router, Selector, ServedVersion};
use ocelli::telemetry::metrics::Metrics;
use ocelli::tensor::Tensor;
use tokio::runtime::Runtime;

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub router: Arc<Router>,
    pub operator: Operator,
    pub reconciler: Reconciler,
    pub commands: Commands,
    pub metrics: Arc<Metrics>,
    pub runtime: Runtime,
    scheduler: Arc<Scheduler>,
}

impl Rig {
    /// Starts with what `fill` puts into the repository, and waits until that is loaded.
    pub fn start(settle: Duration, fill: impl FnOnce(&Path)) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let metrics = Metrics::new(true).unwrap();
        let scheduler =
            Arc::new(Scheduler::start(Threads { compute: 2, decode: 2 }, metrics.clone()).unwrap());
        let router = Arc::new(Router::new());
        let publisher = Arc::new(Publisher::new(router.clone(), metrics.clone()));
        let limits = Limits {
            rule: Rule::Tuned,
            max_batch: 4,
            max_queue_delay: Duration::ZERO,
            max_queue_rows: 128,
            instances: 2,
            alone: false,
            slo: None,
            weight: 1.0,
            cores: 1.0,
        };
        let poll = Duration::from_millis(100);
        let root = dir.path().to_owned();
        let loader = Loader::embedded();
        let filled = tokio::sync::watch::channel(true).1;
        let settings = ReconcilerSettings {
            root,
            traffic: filled.clone(),
            filled,
            poll,
            settle,
            loader,
            warm_bytes: u64::MAX,
            model_memory_bytes: u64::MAX,
            limits,
        };
        let store = Arc::new(MemoryStore::new());
        let events = Arc::new(Events::new(None, metrics.clone()).unwrap());
        let operator = Operator::new(publisher.clone(), store, events);
        let (to, metered) = (publisher, metrics.clone());
        let reconciler = Reconciler::start(settings, scheduler.clone(), to, metered).unwrap();
        let runtime = Runtime::new().unwrap();
        let mut ready = reconciler.ready();
        runtime.block_on(ready.wait_for(|ready| *ready)).unwrap();
        let commands = reconciler.commands();
        Rig { dir, router, operator, reconciler, commands, metrics, runtime, scheduler }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for an answer, but not for ever.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let bounded = async { tokio::time::timeout(Duration::from_secs(60), what).await };
        self.runtime.block_on(bounded).expect("no answer within a minute")
    }

    pub fn load(&self, model: &str) -> Result<(), InferError> {
        self.wait(self.commands.load(model))
    }

    pub fn unload(&self, model: &str) -> Result<(), InferError> {
        self.wait(self.commands.unload(model))
    }

    /// The version that a request gets.
    pub fn route(
        &self,
        model: &str,
        selector: Selector,
        point: u64,
    ) -> Result<Arc<ServedVersion>, InferError> {
        let spec = ModelSpec { model: model.to_owned(), selector };
        self.router.route(&spec, &Point(point)).map(|route| route.version)
    }

    /// Splits a model's traffic.
    pub fn set_weights(&self, model: &str, weights: &[(u64, u32)]) -> Document {
        let weights = Some(weights.iter().copied().collect());
        let edit = Edit { weights, ..Edit::default() };
        self.wait(self.operator.edit(model, &edit, &By::default())).unwrap()
    }

    /// A model's traffic documents.
    pub fn documents(&self, model: &str) -> Vec<Document> {
        self.operator.publisher().standing(model).unwrap().history.documents().to_vec()
    }

    /// What `version` makes of a 3.
    pub fn run(&self, version: &ServedVersion) -> Result<f32, InferError> {
        let input = Tensor::from_f32(vec![1, 1], &[3.0]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let place = version.queue.reserve(Priority::Normal)?;
        let reply = self.runtime.block_on(version.queue.infer(place, vec![input], deadline))?;
        Ok(reply.outputs[0].to_f32().unwrap()[0])
    }

    /// What a request that names only the model gets for a 3.
    pub fn ask(&self, model: &str) -> Result<f32, InferError> {
        self.run(&*self.route(model, Selector::Traffic, 0)?)
    }

    /// A model's versions: state and reason.
    pub fn statuses(&self, model: &str) -> BTreeMap<u64, (&'static str, String)> {
        let snapshot = self.router.snapshot();
        let statuses = snapshot.models.get(model).map(|m| m.statuses.clone()).unwrap_or_default();
        let one = |(v, s): (u64, ocelli::router::VersionStatus)| {
            (v, (s.state.name(), s.error.unwrap_or_default()))
        };
        statuses.into_iter().map(one).collect()
    }

    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(30), "{what} does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A request that falls on a point.
struct Point(u64);

impl Asked for Point {
    fn value(&self, _: &Attribute) -> Option<std::borrow::Cow<'_, str>> {
        None
    }

    fn chance(&self) -> u64 {
        self.0
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.scheduler.stop();
        self.reconciler.stop();
    }
}
