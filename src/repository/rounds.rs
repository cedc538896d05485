//! The control loop itself: round after round, makes what is loaded what should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::ReconcilerSettings;
use super::commands::Wake;
use super::orders::Orders;
use super::plan::{self, Action};
use super::scan::{self, Fingerprint};
use super::spec::{LoadWhen, ModelSpecFile};
use super::versions::{ModelLoop, Out};
use super::waiting::Waiting;
use crate::batcher::Scheduler;
use crate::control::Publisher;
use crate::engine::Format;
use crate::error::InferError;
use crate::memory::Trimmer;
use crate::router::ServedVersion;
use crate::telemetry::metrics::Metrics;

/// Traffic tables before the one in force whose versions stay warm, unless `keep_warm` says else.
const KEEP_WARM: usize = 1;

const SHORT: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Until the next poll.
    Long,
    /// Files are settling or requests draining.
    Short,
}

pub(super) struct Loop {
    pub settings: ReconcilerSettings,
    pub scheduler: Arc<Scheduler>,
    pub publisher: Arc<Publisher>,
    pub metrics: Arc<Metrics>,
    pub models: BTreeMap<String, ModelLoop>,
    /// Out of the snapshot, perhaps still held by requests. Dropped here, so that no request
    /// pays for freeing a model.
    pub draining: Vec<Arc<ServedVersion>>,
    pub orders: Orders,
    pub waiting: Waiting,
    /// Counts the looks at the repository.
    pub rounds: u64,
    trimmer: Trimmer,
    /// Models came or went since memory was last given back.
    pub freed: bool,
    wake: Receiver<Wake>,
    /// Something was heard since this round began.
    again: bool,
    stopping: bool,
}

impl Loop {
    pub fn new(
        settings: ReconcilerSettings,
        scheduler: Arc<Scheduler>,
        publisher: Arc<Publisher>,
        metrics: Arc<Metrics>,
        trimmer: Trimmer,
        wake: Receiver<Wake>,
    ) -> Loop {
        Loop {
            settings,
            scheduler,
            publisher,
            metrics,
            trimmer,
            freed: false,
            models: BTreeMap::new(),
            draining: Vec::new(),
            orders: Orders::default(),
            waiting: Waiting::default(),
            rounds: 0,
            wake,
            again: false,
            stopping: false,
        }
    }

    /// Until it is told to stop.
    pub fn run(mut self, set_ready: &watch::Sender<bool>) {
        while !self.stopping {
            // Asked first: what comes during the round may not be seen by it.
            let filled = *self.settings.filled.borrow() && *self.settings.traffic.borrow();
            let rest = self.round();
            // Ready once everything that was there at the start is loaded or has failed.
            if filled && rest == Rest::Long {
                set_ready.send_if_modified(|ready| !std::mem::replace(ready, true));
            }
            let wait = match rest {
                _ if self.again || self.stopping => Duration::ZERO,
                Rest::Long => self.settings.poll,
                Rest::Short => SHORT.min(self.settings.poll),
            };
            self.hear(wait);
        }
        self.unload_all();
    }

    /// Waits for news, and takes in all there is: a burst of events is one change.
    fn hear(&mut self, mut wait: Duration) {
        loop {
            match self.wake.recv_timeout(wait) {
                Ok(Wake::Changed) => self.again = true,
                Ok(Wake::Command(command)) => {
                    self.again = true;
                    self.obey(command);
                }
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.stopping = true;
                    return;
                }
                Err(RecvTimeoutError::Timeout) => return,
            }
            wait = Duration::ZERO;
        }
    }

    fn round(&mut self) -> Rest {
        self.rounds += 1;
        self.again = false;
        self.waiting.forget_gone();
        self.note_use();
        let rest = self.reconcile().unwrap_or_else(|e| {
            let root = self.settings.root.display();
            tracing::warn!(%root, error = %e, "can't read the repository");
            let unreadable = unreadable(&self.settings, &e);
            for model in self.waiting.models() {
                self.waiting.tell(&model, self.rounds, &Err(unreadable.clone()));
            }
            Rest::Long
        });
        self.drop_drained();
        if std::mem::take(&mut self.freed) {
            self.trimmer.trim();
        }
        if self.draining.is_empty() { rest } else { Rest::Short }
    }

    fn reconcile(&mut self) -> std::io::Result<Rest> {
        let found = scan::scan(&self.settings.root)?;
        self.orders.keep_only(&found);
        let gone: Vec<String> =
            self.models.keys().filter(|m| !found.contains_key(*m)).cloned().collect();
        for name in gone {
            tracing::info!(model = name, "left the repository");
            self.publisher.remove_model(&name);
            if let Some(model) = self.models.remove(&name) {
                self.draining.extend(model.loaded.versions.into_values());
            }
        }
        for name in self.waiting.models().iter().filter(|m| !found.contains_key(*m)) {
            self.waiting.tell(name, self.rounds, &Err(no_such_model(&self.settings, name)));
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
                // What is asked meanwhile need not wait until all models are loaded.
                self.hear(Duration::ZERO);
                if self.stopping {
                    return Ok(Rest::Short);
                }
            }
        }
        Ok(rest)
    }

    /// One step for a model; `None` when all is as it should be.
    fn step(&mut self, name: &str, on_disk: &BTreeSet<u64>) -> Option<Action> {
        if !self.orders.serves(name) {
            self.take_out(name, Out::Unloaded, on_disk);
            return None;
        }
        let dir = self.settings.root.join(name);
        let spec = ModelSpecFile::read(&dir, None).map(|spec| self.orders.over(name, spec));
        let on_demand = spec.as_ref().is_ok_and(|spec| spec.load == LoadWhen::Demand);
        // A rollout that nobody's request keeps going would be taken back as if something had failed.
        if on_demand && !self.orders.is_demanded(name) && self.publisher.rolls_out(name) {
            self.orders.demand(name);
        }
        if on_demand && !self.orders.is_demanded(name) {
            self.take_out(name, Out::NoDemand, on_disk);
            // Who asked for a list with it in it has what was asked for.
            self.waiting.tell(name, self.rounds, &Ok(()));
            return None;
        }
        self.bring_back(name, on_disk);
        let spec = match self.take_spec(name, spec, on_disk) {
            Ok(spec) => spec,
            Err(problem) => {
                self.show(name);
                let failed = Err(InferError::Conflict(format!("model {name}: {problem}")));
                self.waiting.tell(name, self.rounds, &failed);
                return None;
            }
        };
        let mut versions = spec.versions.select(on_disk);
        let keep = spec.keep_warm.unwrap_or(KEEP_WARM);
        let mut also = self.publisher.needed(name);
        also.extend(spec.labels.values());
        versions.extend(also.intersection(on_disk));
        if !on_demand {
            // What is only to be gone back to takes no room from what is asked for.
            self.keep_warm(&dir, &self.publisher.retained(name, keep), on_disk, &mut versions);
        }
        let wanted: BTreeMap<u64, Fingerprint> = versions
            .iter()
            .filter_map(|v| Some((*v, Fingerprint::read(&dir, &dir.join(v.to_string())).ok()?)))
            .collect();
        let model = self.models.get_mut(name)?;
        let (settle, now) = (self.settings.settle, (SystemTime::now(), Instant::now()));
        let quiet =
            wanted.iter().filter(|(v, files)| model.quiet.is_whole(**v, files, settle, now));
        let whole = quiet.map(|(version, _)| *version).collect();
        let action = plan::next_action(&wanted, on_disk, &model.known, &whole);
        match &action {
            Action::Load(version, files) if on_demand => {
                match self.make_room(name, files) {
                    Ok(()) => self.load(name, *version, files.clone()),
                    Err(error) if self.is_served(name) => self.fail(name, *version, files, &error),
                    Err(error) => {
                        tracing::warn!(model = name, %error, "not loaded");
                        self.waiting.tell(name, self.rounds, &Err(error));
                        // The next round tries for those that came since this one began.
                        if !self.waiting.waits_for(name) {
                            self.orders.put_by(name);
                        }
                        self.take_out(name, Out::NoDemand, on_disk);
                        return None;
                    }
                }
            }
            Action::Load(version, files) => self.load(name, *version, files.clone()),
            Action::Unload(version) => self.unload(name, *version, on_disk),
            Action::Settle => self.show(name),
            Action::Rest => {
                self.show(name);
                self.forget_statuses(name, on_disk);
                versions.extend(spec.versions.missing(on_disk));
                let statuses = &self.models.get(name)?.loaded.statuses;
                let outcome = plan::outcome(name, &versions, on_disk, statuses);
                self.waiting.tell(name, self.rounds, &outcome);
                return None;
            }
        }
        Some(action)
    }

    /// Adds what is kept only to be gone back to, the likeliest first, as long as its files are within
    /// the budget.
    fn keep_warm(
        &self,
        dir: &Path,
        likely: &[u64],
        on_disk: &BTreeSet<u64>,
        versions: &mut BTreeSet<u64>,
    ) {
        let mut left = self.settings.warm_bytes;
        for version in likely.iter().filter(|v| on_disk.contains(v)) {
            if versions.contains(version) {
                continue;
            }
            let file = Format::find(&dir.join(version.to_string()));
            let size = file.and_then(|f| std::fs::metadata(f).ok()).map_or(0, |m| m.len());
            let Some(rest) = left.checked_sub(size) else { return };
            left = rest;
            versions.insert(*version);
        }
    }

    fn unload_all(&mut self) {
        // Who waits is told at once, and not after all models are freed.
        self.waiting = Waiting::default();
        for name in self.models.keys() {
            self.publisher.remove_model(name);
        }
        self.models.clear();
        self.draining.clear();
    }
}

/// The repository's directory can't be read.
pub(super) fn unreadable(settings: &ReconcilerSettings, error: &std::io::Error) -> InferError {
    let root = settings.root.display();
    InferError::Internal(format!("can't read the model repository {root}: {error}"))
}

/// A model that is not in the repository, with where it would be.
pub(super) fn no_such_model(settings: &ReconcilerSettings, model: &str) -> InferError {
    let directory = settings.root.join(model).display().to_string();
    InferError::NoSuchModel { model: model.to_owned(), directory }
}
