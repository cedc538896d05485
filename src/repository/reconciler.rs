//! The handle of the control loop: starts its thread, wakes it, stops it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::watch;

use super::commands::{Commands, Wake};
use super::load::Loader;
use super::rounds::Loop;
use crate::batcher::{Limits, Scheduler};
use crate::control::Publisher;
use crate::memory::Trimmer;
use crate::telemetry::metrics::Metrics;

/// What the loop goes by.
#[derive(Clone, Debug)]
pub struct ReconcilerSettings {
    /// The model repository.
    pub root: PathBuf,
    /// Whether all that is to be there at the start is: of a directory always, of a mirror at some time.
    pub filled: watch::Receiver<bool>,
    /// Whether the traffic was read, which says which versions are needed.
    pub traffic: watch::Receiver<bool>,
    /// How often to look, beside being told of changes.
    pub poll: Duration,
    /// How long files must rest before they count as whole.
    pub settle: Duration,
    /// What loads versions.
    pub loader: Loader,
    /// Bytes of a model's files that are kept loaded only to be gone back to.
    pub warm_bytes: u64,
    /// Bytes of the files of all that is loaded, beyond which what is loaded on demand makes room.
    pub model_memory_bytes: u64,
    /// Limits where `model.toml` is silent.
    pub limits: Limits,
}

/// Has the loop look again.
pub struct Waker(mpsc::Sender<Wake>);

impl Waker {
    /// Soon.
    pub fn wake(&self) {
        // A loop that has ended has nothing left to hear.
        drop(self.0.send(Wake::Changed));
    }
}

/// The running loop.
pub struct Reconciler {
    wake: mpsc::Sender<Wake>,
    commands: Commands,
    thread: Mutex<Option<JoinHandle<()>>>,
    ready: watch::Receiver<bool>,
}

impl Reconciler {
    /// Starts the loop.
    pub fn start(
        settings: ReconcilerSettings,
        scheduler: Arc<Scheduler>,
        publisher: Arc<Publisher>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Reconciler> {
        let (wake, heard) = mpsc::channel();
        let (set_ready, ready) = watch::channel(false);
        let watcher = watch_directory(&settings.root, wake.clone());
        // Before the loader has its priority, which threads inherit.
        let trimmer = Trimmer::start()?;
        let this = Loop::new(settings, scheduler, publisher, metrics, trimmer, heard);
        let run = move || {
            // Loading must not take the cores from serving. Not being allowed to is no reason
            // not to load.
            if let Err(e) = rustix::process::nice(10) {
                tracing::debug!(error = %e, "can't lower the loader's priority");
            }
            let _watcher = watcher;
            this.run(&set_ready);
        };
        let thread = std::thread::Builder::new().name("ocelli-loader".to_owned()).spawn(run)?;
        let commands = Commands::new(wake.clone());
        Ok(Reconciler { wake, commands, thread: Mutex::new(Some(thread)), ready })
    }

    /// Whether what was in the repository at the start is loaded, or has failed to.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// What has the loop look again.
    pub fn waker(&self) -> Waker {
        Waker(self.wake.clone())
    }

    /// What asks the loop to load and unload.
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// Stops the loop and drops all models. Call it when nothing is served any more.
    pub fn stop(&self) {
        // A loop that has ended has nothing left to hear.
        drop(self.wake.send(Wake::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|t| t.join().is_err()) {
            tracing::error!("the loader thread panicked");
        }
    }
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
