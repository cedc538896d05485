//! The hands of the loop: versions and models into service, out of it, and what is told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::load::{self, LoadError};
use super::plan::{self, Known};
use super::quiet::Quiet;
use super::room::Used;
use super::rounds::Loop;
use super::scan::Fingerprint;
use super::spec::{LoadWhen, ModelSpecFile};
use super::waiting::ANY_ROUND;
use crate::batcher::{Limits, Target};
use crate::cache::Cache;
use crate::control::{Loaded, Traffic};
use crate::error::InferError;
use crate::observe::drift::{self, Monitor, Reference};
use crate::router::{ServedVersion, VersionInfo, VersionState, VersionStatus};
use crate::vision::Answerer;

/// What the loop has of a model.
#[derive(Default)]
pub(super) struct ModelLoop {
    pub known: BTreeMap<u64, Known>,
    /// When requests last came, as far as the loop has seen.
    pub used: Used,
    pub quiet: Quiet,
    pub loaded: Loaded,
    traffic: Traffic,
    stand: Stand,
}

/// Why a model is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// Somebody asked for that.
    Unloaded,
    /// It is loaded on demand, and no request asks for it.
    NoDemand,
}

impl Out {
    const fn reason(self) -> &'static str {
        match self {
            Out::Unloaded => plan::UNLOADED,
            Out::NoDemand => plan::ON_DEMAND,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    /// In service.
    #[default]
    In,
    /// Asked out of service.
    Out,
    /// On its way back. It comes back whole, so that traffic is split as it was before: the
    /// first version to be there does not get all of it.
    Returning,
}

impl Loop {
    pub fn announce(&mut self, name: &str, versions: &BTreeSet<u64>) {
        if self.models.contains_key(name) {
            return;
        }
        let model = self.models.entry(name.to_owned()).or_default();
        model.loaded.statuses = at_start(versions);
        self.publish(name);
    }

    /// Takes over what `model.toml` says; a broken one leaves the model as it is, with the reason.
    pub fn take_spec(
        &mut self,
        name: &str,
        spec: Result<ModelSpecFile, String>,
        on_disk: &BTreeSet<u64>,
    ) -> Result<ModelSpecFile, String> {
        let spec = spec.and_then(|spec| Ok((spec.traffic()?, spec)));
        let Some(model) = self.models.get_mut(name) else { return spec.map(|(_, spec)| spec) };
        let said = |m: &ModelLoop| {
            let Loaded { problem, labels, selected, on_demand, .. } = &m.loaded;
            (problem.clone(), labels.clone(), selected.clone(), *on_demand, m.traffic.clone())
        };
        let before = said(model);
        let spec = match spec {
            Ok((traffic, spec)) => {
                model.loaded.problem = None;
                model.loaded.on_demand = spec.load == LoadWhen::Demand;
                model.loaded.labels.clone_from(&spec.labels);
                model.loaded.selected = spec.versions.select(on_disk);
                model.traffic = traffic;
                Ok(spec)
            }
            Err(problem) => {
                model.loaded.problem = Some(problem.clone());
                Err(problem)
            }
        };
        if said(model) != before {
            if let Some(problem) = &model.loaded.problem {
                tracing::error!(model = name, problem, "model.toml can't be used");
            }
            self.publish(name);
        }
        spec
    }

    pub fn load(&mut self, name: &str, version: u64, files: Fingerprint) {
        let dir = self.settings.root.join(name);
        let started = Instant::now();
        tracing::info!(model = name, version, "loading");
        // A version that is being replaced goes on serving what it was.
        self.set_state(name, version, VersionState::Loading, None);
        let loader = &self.settings.loader;
        let loaded =
            loader.load(&dir, &dir.join(version.to_string()), Some(&files)).and_then(|loaded| {
                let limits = loaded.spec.limits(self.settings.limits, loader.threads);
                let runs = load::warm_up(&loaded, limits.max_batch)?;
                Ok((loaded, limits, runs))
            });
        match loaded {
            Ok((loaded, limits, runs)) => {
                let served = self.serve(name, version, loaded, limits);
                served.queue.learn(&runs);
                let seconds = started.elapsed().as_secs_f64();
                let digest = &served.info.digest[..12];
                tracing::info!(
                    model = name,
                    version,
                    engine = served.info.engine,
                    precision = served.info.precision.name(),
                    why = served.info.why,
                    digest,
                    seconds,
                    "available"
                );
                self.install(name, version, files, served);
                // What was read of its file, and what its choice took.
                self.freed = true;
            }
            Err(LoadError::Changed) => self.set_state(name, version, VersionState::Start, None),
            Err(error) => self.fail(name, version, &files, &error),
        }
    }

    /// A version can't be loaded from these files; what serves goes on.
    pub fn fail(
        &mut self,
        name: &str,
        version: u64,
        files: &Fingerprint,
        error: &dyn std::fmt::Display,
    ) {
        tracing::error!(model = name, version, %error, "failed to load");
        self.freed = true;
        self.metrics.load_failures.with_label_values(&[name]).inc();
        if let Some(model) = self.models.get_mut(name) {
            model.known.entry(version).or_default().failed = Some(files.clone());
        }
        self.set_state(name, version, VersionState::End, Some(error.to_string()));
    }

    /// Whether a version of a model serves.
    pub fn is_served(&self, name: &str) -> bool {
        self.models.get(name).is_some_and(|model| !model.loaded.versions.is_empty())
    }

    fn serve(
        &self,
        name: &str,
        version: u64,
        loaded: load::LoadedVersion,
        limits: Limits,
    ) -> Arc<ServedVersion> {
        let model: Arc<str> = name.into();
        let metrics = self.metrics.version(name, version);
        metrics.runs_on(loaded.engine, loaded.precision.name());
        let target = Arc::new(Target {
            name: model.clone(),
            version,
            engine: loaded.engine,
            model: loaded.model,
            metrics: Arc::new(metrics),
        });
        let file = loaded.spec.output.as_ref().and_then(|o| o.labels().map(str::to_owned));
        let labels = match &loaded.answerer {
            Some(Answerer::Classifier(classifier)) => file.map(|f| (classifier.output(), f)),
            _ => None,
        };
        Arc::new(ServedVersion {
            info: VersionInfo {
                model,
                version,
                engine: loaded.engine,
                precision: loaded.precision,
                format: loaded.format,
                why: loaded.why,
                digest: loaded.digest,
                labels,
                loaded_at: SystemTime::now(),
            },
            queue: self.scheduler.open(target, limits),
            image: loaded.image,
            answerer: loaded.answerer,
            cache: loaded
                .spec
                .cache
                .as_ref()
                .map(|spec| Cache::new(spec, self.metrics.cache.of([name, &version.to_string()]))),
            drift: monitor(&self.settings.root.join(name).join(version.to_string()), &loaded.spec),
            classes_in_ids: loaded.spec.feedback.class,
            golden: Some(self.settings.root.join(name).join(version.to_string()).join("golden"))
                .filter(|dir| dir.is_dir()),
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
        model.used.loaded();
        self.publish(name);
        self.draining.extend(replaced);
    }

    pub fn unload(&mut self, name: &str, version: u64, on_disk: &BTreeSet<u64>) {
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

    /// Takes a whole model out of service, or keeps what is told of one that is out in line with
    /// the disk. Who waits for it to be loaded waits in vain.
    pub fn take_out(&mut self, name: &str, out: Out, on_disk: &BTreeSet<u64>) {
        if out == Out::Unloaded {
            let why = format!("model {name}: {} meanwhile", plan::UNLOADED);
            self.waiting.tell(name, ANY_ROUND, &Err(InferError::Conflict(why)));
        }
        let Some(model) = self.models.get_mut(name) else { return };
        // All at once: no traffic table is settled for a part of them.
        let removed = std::mem::take(&mut model.loaded.versions);
        let numbers = removed.keys().copied().collect();
        let before = &model.loaded.statuses;
        let statuses = plan::out_of_service(out.reason(), before, on_disk, &numbers);
        let on_demand = out == Out::NoDemand;
        let same = model.loaded.statuses == statuses && model.loaded.on_demand == on_demand;
        if model.stand == Stand::Out && same {
            return;
        }
        model.stand = Stand::Out;
        model.loaded.on_demand = on_demand;
        model.known.clear();
        model.loaded.problem = None;
        model.loaded.statuses = statuses;
        self.publish(name);
        self.draining.extend(removed.into_values());
    }

    /// A model that was out of service is loaded anew.
    pub fn bring_back(&mut self, name: &str, on_disk: &BTreeSet<u64>) {
        let Some(model) = self.models.get_mut(name) else { return };
        if model.stand == Stand::Out {
            model.stand = Stand::Returning;
            model.loaded.statuses = at_start(on_disk);
            self.publish(name);
        }
    }

    /// All of a returning model that can be had now is there.
    pub fn show(&mut self, name: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        if model.stand == Stand::Returning && !model.loaded.versions.is_empty() {
            model.stand = Stand::In;
            self.publish(name);
        }
    }

    /// Frees what no request holds any more.
    pub fn drop_drained(&mut self) {
        let (held, drained): (Vec<_>, Vec<_>) =
            self.draining.drain(..).partition(|version| Arc::strong_count(version) > 1);
        self.draining = held;
        self.freed |= !drained.is_empty();
        for served in drained {
            let VersionInfo { model: name, version, .. } = &served.info;
            tracing::info!(model = %name, version, "drained and dropped");
            let model = self.models.get_mut(&**name);
            let status = model.and_then(|m| m.loaded.statuses.get_mut(version));
            if let Some(status) = status.filter(|s| s.state == VersionState::Unloading) {
                status.state = VersionState::End;
                self.publish(name);
            }
        }
    }

    /// A replaced version stays `AVAILABLE` while its successor loads or if that one fails.
    fn set_state(&mut self, name: &str, version: u64, state: VersionState, error: Option<String>) {
        let Some(model) = self.models.get_mut(name) else { return };
        let serving = model.loaded.versions.contains_key(&version);
        let state = if serving { VersionState::Available } else { state };
        model.loaded.statuses.insert(version, VersionStatus { state, error });
        self.publish(name);
    }

    pub fn forget_statuses(&mut self, name: &str, on_disk: &BTreeSet<u64>) {
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
        let Some(model) = self.models.get(name) else { return };
        let mut loaded = model.loaded.clone();
        if model.stand == Stand::Returning {
            for version in std::mem::take(&mut loaded.versions).keys() {
                let loading = VersionStatus { state: VersionState::Loading, error: None };
                loaded.statuses.insert(*version, loading);
            }
        }
        self.publisher.set_model(name, loaded, model.traffic.clone());
    }
}

fn at_start(versions: &BTreeSet<u64>) -> BTreeMap<u64, VersionStatus> {
    let start = VersionStatus { state: VersionState::Start, error: None };
    versions.iter().map(|v| (*v, start.clone())).collect()
}

/// Follows the inputs of a version, compared with the `drift.json` beside it or with its first ones.
fn monitor(dir: &Path, spec: &ModelSpecFile) -> Option<Monitor> {
    let drift = spec.drift.as_ref()?;
    let path = dir.join("drift.json");
    let reference = std::fs::read(&path).ok().and_then(|text| {
        let reference = Reference::from_json(&text);
        reference
            .map_err(|e| tracing::error!(path = %path.display(), error = %e, "no reference"))
            .ok()
    });
    let settings = drift::Settings { reference: drift.reference, window: drift.window };
    Some(Monitor::new(settings, reference))
}
