//! The mirror's own thread: looks at the source now and then, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::cache::{Cache, models_dir};
use super::error::SourceError;
use super::fetch::Bounds;
use super::listing::{Reader, Trust};
use super::look::{Looks, Notes};
use super::place::Place;
use super::retry::backoff;
use super::signature::TrustedKeys;
use super::standing::Standing;
use super::stores::{Access, Stores};
use crate::telemetry::source::SourceMetrics;

/// What the mirror goes by.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// The source.
    pub place: Place,
    /// Directory of the cache.
    pub cache: PathBuf,
    /// How often to look.
    pub poll: Duration,
    /// How stores are reached.
    pub access: Access,
    /// Bytes of a file at most.
    pub most_bytes: u64,
    /// Versions of a model that are mirrored, the newest; 0: all.
    pub newest: usize,
    /// Whether files that no manifest tells of are refused.
    pub require_digest: bool,
    /// Who must have signed the manifest.
    pub keys: TrustedKeys,
}

/// A mirror whose cache is open.
pub struct Source {
    looks: Looks,
    poll: Duration,
    standing: Arc<Standing>,
    filled: watch::Sender<bool>,
}

/// A mirror that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl SourceSettings {
    /// The directory that becomes a copy of the source.
    pub fn models_dir(&self) -> PathBuf {
        models_dir(&self.cache)
    }
}

impl Source {
    /// Opens the cache, in which what is not right is cleared away. It takes as long as reading all of it does.
    pub fn open(settings: &SourceSettings, metrics: SourceMetrics) -> Result<Source, SourceError> {
        let SourceSettings { place, access, .. } = settings;
        // Who asks for digests or another signature does not get what came without.
        let trust = (settings.require_digest, &settings.keys);
        let served = format!("{place} require_digest={} trusted_key={}", trust.0, trust.1);
        let cache = Cache::open(&settings.cache, &served)?;
        let models = cache.trees()?.len();
        let stores = Stores::new(access.clone())?;
        let bounds = Bounds { stall: access.stall, most: settings.most_bytes };
        let trust = Trust { require_digest: settings.require_digest, keys: settings.keys.clone() };
        let notes = Notes::new(cache.index());
        let reader = Reader::new(place.clone(), trust, stores, bounds);
        let standing = Arc::new(Standing::new(place.to_string(), models, metrics.clone()));
        let looks = Looks { reader, cache, bounds, newest: settings.newest, metrics, notes };
        let cache = settings.cache.display();
        tracing::info!(source = %place, %cache, models, "the model cache is open");
        Ok(Source { looks, poll: settings.poll, standing, filled: watch::channel(models > 0).0 })
    }

    /// How it fares.
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    /// Whether there is something to serve: from the start if the cache is warm, else once the source was
    /// read.
    pub fn filled(&self) -> watch::Receiver<bool> {
        self.filled.subscribe()
    }

    /// Starts looking. `changed` is called after each change of the directory.
    pub fn start(self, changed: impl Fn() + Send + 'static) -> std::io::Result<Running> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            // Fetching must not take the cores from serving. Not being allowed to is no reason not to fetch.
            if let Err(e) = rustix::process::nice(10) {
                tracing::debug!(error = %e, "can't lower the mirror's priority");
            }
            runtime.block_on(self.run(&changed, stopped));
            // A file system or a name server that hangs is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("ocelli-source".to_owned()).spawn(run)?;
        Ok(Running { stop, thread })
    }

    async fn run(mut self, changed: &dyn Fn(), mut stopped: watch::Receiver<bool>) {
        let mut failures = 0;
        loop {
            let looked = tokio::select! {
                looked = self.looks.look(changed) => looked,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            let wait = match looked {
                Ok(looked) => {
                    failures = 0;
                    self.standing.good(looked.models, self.looks.failing());
                    // Ready with nothing is not ready: of all that there is, nothing could be had.
                    if looked.models > 0 || !looked.lacking {
                        self.fill(changed);
                    }
                    let due = self.looks.next_due();
                    let due = due.map(|due| due.saturating_duration_since(Instant::now()));
                    jittered(due.unwrap_or(self.poll).min(self.poll))
                }
                Err(error) => {
                    failures += 1;
                    let wait = jittered(backoff(failures, self.poll));
                    self.told(&error, wait);
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn fill(&self, changed: &dyn Fn()) {
        if self.filled.send_if_modified(|filled| !std::mem::replace(filled, true)) {
            changed();
        }
    }

    fn told(&self, error: &SourceError, wait: Duration) {
        self.standing.bad(error);
        self.looks.metrics.failed(error.reason());
        let (models, age) = (self.standing.view().models, self.standing.age().as_secs());
        tracing::error!(%error, reason = error.reason(), models, seconds_since_good = age,
            again_in = ?wait, "can't read the source: what is here stays");
    }
}

impl Running {
    /// Stops it, wherever it is.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the mirror's thread panicked");
        }
    }
}

/// Give or take a tenth, so that replicas that were started together don't ask together.
fn jittered(wait: Duration) -> Duration {
    let random = uuid::Uuid::now_v7().as_u128() as u32;
    wait.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}
