//! The control loop: one low-priority thread that makes what is loaded what should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;

use super::load::{self, LoadError};
use super::plan::{self, Action, Known};
use super::scan::{self, Fingerprint};
use super::spec::ModelSpecFile;
use crate::batcher::{Limits, Scheduler, Target};
use crate::control::{Loaded, Publisher, Traffic};
use crate::router::{ServedVersion, VersionInfo, VersionState, VersionStatus};
use crate::telemetry::metrics::Metrics;

/// Traffic tables before the one in force whose versions stay warm, unless `keep_warm` says else.
const KEEP_WARM: usize = 1;

/// What the loop goes by.
#[derive(Clone, Debug)]
pub struct ReconcilerSettings {
    /// The model repository.
    pub root: PathBuf,
    /// How often to look, beside being told of changes.
    pub poll: Duration,
    /// How long files must rest before they count as whole.
    pub settle: Duration,
    /// Threads an engine may use within one run.
    pub intra_op: usize,
    /// Limits where `model.toml` is silent.
    pub limits: Limits,
}

/// The running loop.
pub struct Reconciler {
    stop: mpsc::Sender<Wake>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ready: watch::Receiver<bool>,
}

enum Wake {
    Changed,
    Stop,
}

struct Loop {
    settings: ReconcilerSettings,
    scheduler: Arc<Scheduler>,
    publisher: Arc<Publisher>,
    metrics: Arc<Metrics>,
    models: BTreeMap<String, ModelLoop>,
    /// Out of the snapshot, perhaps still held by requests. Dropped here, so that no request
    /// pays for freeing a model.
    draining: Vec<Arc<ServedVersion>>,
}

#[derive(Default)]
struct ModelLoop {
    known: BTreeMap<u64, Known>,
    loaded: Loaded,
    traffic: Traffic,
}

impl Reconciler {
    /// Starts the loop.
    pub fn start(
        settings: ReconcilerSettings,
        scheduler: Arc<Scheduler>,
        publisher: Arc<Publisher>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Reconciler> {
        let (stop, wake) = mpsc::channel();
        let (set_ready, ready) = watch::channel(false);
        let watcher = watch_directory(&settings.root, stop.clone());
        let mut this = Loop {
            settings,
            scheduler,
            publisher,
            metrics,
            models: BTreeMap::new(),
            draining: Vec::new(),
        };
        let run = move || {
            // Loading must not take the cores from serving. Not being allowed to is no reason
            // not to load.
            if let Err(e) = rustix::process::nice(10) {
                tracing::debug!(error = %e, "can't lower the loader's priority");
            }
            let _watcher = watcher;
            loop {
                let rest = this.round();
                // Ready once everything that was there at the start is loaded or has failed.
                if rest == Rest::Long {
                    set_ready.send_if_modified(|ready| !std::mem::replace(ready, true));
                }
                let wait = if rest == Rest::Long {
                    this.settings.poll
                } else {
                    SHORT.min(this.settings.poll)
                };
                match wake.recv_timeout(wait) {
                    Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                    // A burst of events is one change.
                    Ok(Wake::Changed) => while let Ok(Wake::Changed) = wake.try_recv() {},
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            this.unload_all();
        };
        let thread = std::thread::Builder::new().name("ocelli-loader".to_owned()).spawn(run)?;
        Ok(Reconciler { stop, thread: Mutex::new(Some(thread)), ready })
    }

    /// Whether what was in the repository at the start is loaded, or has failed to.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Stops the loop and drops all models. Call it when nothing is served any more.
    pub fn stop(&self) {
        // A loop that has ended has nothing left to hear.
        drop(self.stop.send(Wake::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the loader thread panicked");
        }
    }
}

const SHORT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Until the next poll.
    Long,
    /// Files are settling or requests draining.
    Short,
}

fn watch_directory(root: &Path, wake: mpsc::Sender<Wake>) -> Option<notify::RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading models makes access events; only changes are news.
        if event.is_ok_and(|e| !e.kind.is_access()) {
            drop(wake.send(Wake::Changed));
        }
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watcher.map_err(|e| tracing::info!(error = %e, "can't watch the repository; polling it")).ok()
}

impl Loop {
    fn round(&mut self) -> Rest {
        let mut rest = self.reconcile().unwrap_or_else(|e| {
            tracing::warn!(root = %self.settings.root.display(), error = %e, "can't read the repository");
            Rest::Long
        });
        self.draining.retain(|version| {
            let held = Arc::strong_count(version) > 1;
            if !held {
                let VersionInfo { model, version, .. } = &version.info;
                tracing::info!(%model, version, "drained and dropped");
            }
            held
        });
        if !self.draining.is_empty() {
            rest = Rest::Short;
        }
        rest
    }

    fn reconcile(&mut self) -> std::io::Result<Rest> {
        let found = scan::scan(&self.settings.root)?;
        let gone: Vec<String> =
            self.models.keys().filter(|m| !found.contains_key(*m)).cloned().collect();
        for name in gone {
            tracing::info!(model = name, "left the repository");
            self.publisher.remove_model(&name);
            if let Some(model) = self.models.remove(&name) {
                self.draining.extend(model.loaded.versions.into_values());
            }
        }
        // Every model is known before the first is loaded: until then it is 503, not 404.
        for (name, versions) in &found {
            self.announce(name, versions);
        }
        let mut rest = Rest::Long;
        for (name, versions) in &found {
            while let Some(action) = self.step(name, versions) {
                if action == Action::Settle {
                    rest = Rest::Short;
                    break;
                }
            }
        }
        Ok(rest)
    }

    fn announce(&mut self, name: &str, versions: &BTreeSet<u64>) {
        if self.models.contains_key(name) {
            return;
        }
        let model = self.models.entry(name.to_owned()).or_default();
        let start = VersionStatus { state: VersionState::Start, error: None };
        model.loaded.statuses = versions.iter().map(|v| (*v, start.clone())).collect();
        self.publish(name);
    }

    /// One step for a model; `None` when all is as it should be.
    fn step(&mut self, name: &str, on_disk: &BTreeSet<u64>) -> Option<Action> {
        let dir = self.settings.root.join(name);
        let spec = ModelSpecFile::read(&dir, None);
        let spec = self.take_spec(name, spec)?;
        let mut versions = spec.versions.select(on_disk);
        let keep = spec.keep_warm.unwrap_or(KEEP_WARM);
        let mut also = self.publisher.retained(name, keep);
        also.extend(spec.labels.values());
        versions.extend(also.intersection(on_disk));
        let wanted: BTreeMap<u64, Fingerprint> = versions
            .into_iter()
            .filter_map(|v| Some((v, Fingerprint::read(&dir, &dir.join(v.to_string())).ok()?)))
            .collect();
        let known = &self.models.get(name)?.known;
        let settle = self.settings.settle;
        let action = plan::next_action(&wanted, on_disk, known, SystemTime::now(), settle);
        match &action {
            Action::Load(version, files) => self.load(name, *version, files.clone()),
            Action::Unload(version) => self.unload(name, *version, on_disk),
            Action::Settle => {}
            Action::Rest => {
                self.forget_statuses(name, on_disk);
                return None;
            }
        }
        Some(action)
    }

    /// Takes over what `model.toml` says; a broken one leaves the model as it is, with the reason.
    fn take_spec(
        &mut self,
        name: &str,
        spec: Result<ModelSpecFile, String>,
    ) -> Option<ModelSpecFile> {
        let model = self.models.get_mut(name)?;
        let traffic = spec.as_ref().map_err(Clone::clone).and_then(ModelSpecFile::traffic);
        let before =
            (model.loaded.problem.clone(), model.loaded.labels.clone(), model.traffic.clone());
        let spec = match (spec, traffic) {
            (Ok(spec), Ok(traffic)) => {
                model.loaded.problem = None;
                model.loaded.labels.clone_from(&spec.labels);
                model.traffic = traffic;
                Some(spec)
            }
            (Err(problem), _) | (_, Err(problem)) => {
                model.loaded.problem = Some(problem);
                None
            }
        };
        let now =
            (model.loaded.problem.clone(), model.loaded.labels.clone(), model.traffic.clone());
        if now != before {
            if let Some(problem) = &model.loaded.problem {
                tracing::error!(model = name, problem, "model.toml can't be used");
            }
            self.publish(name);
        }
        spec
    }

    fn load(&mut self, name: &str, version: u64, files: Fingerprint) {
        let dir = self.settings.root.join(name);
        let started = Instant::now();
        tracing::info!(model = name, version, "loading");
        // A version that is being replaced goes on serving what it was.
        self.set_state(name, version, VersionState::Loading, None);
        let loaded =
            load::load(&dir, &dir.join(version.to_string()), Some(&files), self.settings.intra_op)
                .and_then(|loaded| {
                    let limits = loaded.spec.limits(self.settings.limits);
                    load::warm_up(&loaded, limits.max_batch)?;
                    Ok((loaded, limits))
                });
        match loaded {
            Ok((loaded, limits)) => {
                let served = self.serve(name, version, loaded, limits);
                let seconds = started.elapsed().as_secs_f64();
                let digest = &served.info.digest[..12];
                tracing::info!(
                    model = name,
                    version,
                    engine = served.info.engine,
                    digest,
                    seconds,
                    "available"
                );
                self.install(name, version, files, served);
            }
            Err(LoadError::Changed) => self.set_state(name, version, VersionState::Start, None),
            Err(error) => {
                tracing::error!(model = name, version, %error, "failed to load");
                self.metrics.load_failures.with_label_values(&[name]).inc();
                if let Some(model) = self.models.get_mut(name) {
                    model.known.entry(version).or_default().failed = Some(files);
                }
                self.set_state(name, version, VersionState::End, Some(error.to_string()));
            }
        }
    }

    fn serve(
        &self,
        name: &str,
        version: u64,
        loaded: load::LoadedVersion,
        limits: Limits,
    ) -> Arc<ServedVersion> {
        let model: Arc<str> = name.into();
        let target = Arc::new(Target {
            name: model.clone(),
            version,
            engine: loaded.engine,
            model: loaded.model,
            metrics: Arc::new(self.metrics.version(name, version)),
        });
        Arc::new(ServedVersion {
            info: VersionInfo {
                model,
                version,
                engine: loaded.engine,
                digest: loaded.digest,
                loaded_at: SystemTime::now(),
            },
            queue: self.scheduler.open(target, limits),
            image: loaded.image,
            answerer: loaded.answerer,
        })
    }

    fn install(
        &mut self,
        name: &str,
        version: u64,
        files: Fingerprint,
        served: Arc<ServedVersion>,
    ) {
        let Some(model) = self.models.get_mut(name) else { return };
        model.known.insert(version, Known { serving: Some(files), failed: None });
        let replaced = model.loaded.versions.insert(version, served);
        let available = VersionStatus { state: VersionState::Available, error: None };
        model.loaded.statuses.insert(version, available);
        self.publish(name);
        self.draining.extend(replaced);
    }

    fn unload(&mut self, name: &str, version: u64, on_disk: &BTreeSet<u64>) {
        let Some(model) = self.models.get_mut(name) else { return };
        tracing::info!(model = name, version, "unloading");
        model.known.remove(&version);
        let removed = model.loaded.versions.remove(&version);
        if on_disk.contains(&version) {
            let end = VersionStatus { state: VersionState::End, error: None };
            model.loaded.statuses.insert(version, end);
        } else {
            model.loaded.statuses.remove(&version);
        }
        self.publish(name);
        self.draining.extend(removed);
    }

    /// A replaced version stays `AVAILABLE` while its successor loads or if that one fails.
    fn set_state(&mut self, name: &str, version: u64, state: VersionState, error: Option<String>) {
        let Some(model) = self.models.get_mut(name) else { return };
        let serving = model.loaded.versions.contains_key(&version);
        let state = if serving { VersionState::Available } else { state };
        model.loaded.statuses.insert(version, VersionStatus { state, error });
        self.publish(name);
    }

    fn forget_statuses(&mut self, name: &str, on_disk: &BTreeSet<u64>) {
        let Some(model) = self.models.get_mut(name) else { return };
        let before = model.loaded.statuses.len();
        let loaded = &model.loaded.versions;
        model.loaded.statuses.retain(|v, _| on_disk.contains(v) || loaded.contains_key(v));
        model.known.retain(|v, k| on_disk.contains(v) || k.serving.is_some());
        if model.loaded.statuses.len() != before {
            self.publish(name);
        }
    }

    fn publish(&self, name: &str) {
        if let Some(model) = self.models.get(name) {
            self.publisher.set_model(name, model.loaded.clone(), model.traffic.clone());
        }
    }

    fn unload_all(&mut self) {
        for name in self.models.keys() {
            self.publisher.remove_model(name);
        }
        self.models.clear();
        self.draining.clear();
    }
}
