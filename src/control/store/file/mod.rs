//! Documents in a directory, one file a revision: `<dir>/<model>/<revision>.json`.
//!
//! Replicas share it through whatever file system they share. Nothing is ever written in place.

mod publish;
mod scan;
mod seal;
mod watcher;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::signals::Signals;
use super::{Document, Histories, Store, StoreError, Watch, check, check_history};
use watcher::Wake;

/// Keeps documents in a directory.
pub struct FileStore {
    shared: Arc<Shared>,
    wake: mpsc::Sender<Wake>,
}

/// What the store and its watching thread have in common.
struct Shared {
    root: PathBuf,
    signals: Signals,
    /// What was read last.
    models: Mutex<scan::Models>,
}

impl FileStore {
    /// Opens `root`, which need not exist yet, and watches it until it is dropped.
    pub fn open(root: &Path) -> io::Result<FileStore> {
        // A relative path would follow the process about.
        let root = std::path::absolute(root)?;
        let shared = Arc::new(Shared { root, signals: Signals::new(), models: Mutex::default() });
        let wake = watcher::start(Arc::clone(&shared))?;
        Ok(FileStore { shared, wake })
    }

    /// Whether a store in `root` could be written: tries to.
    pub fn is_writable(root: &Path) -> bool {
        publish::try_out(root).is_ok()
    }

    /// Runs what waits for the disk where that disturbs nobody.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|e| Err(unreachable(&self.shared.root, io::Error::other(e))))
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        // A thread that has ended has nothing left to hear.
        drop(self.wake.send(Wake::Stop));
    }
}

impl Store for FileStore {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn place(&self) -> String {
        self.shared.root.display().to_string()
    }

    fn load(&self) -> BoxFuture<'_, Result<Histories, StoreError>> {
        Box::pin(self.aside(|shared| Ok(histories(&shared.refresh()?))))
    }

    fn publish<'a>(
        &'a self,
        model: &'a str,
        document: Document,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let model = model.to_owned();
        Box::pin(self.aside(move |shared| {
            check(&model, &document)?;
            shared.wrote(publish::publish(&shared.root, &model, &document))
        }))
    }

    fn restore<'a>(
        &'a self,
        model: &'a str,
        history: Vec<Document>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let model = model.to_owned();
        Box::pin(self.aside(move |shared| {
            let history = check_history(&model, history)?;
            shared.wrote(publish::restore(&shared.root, &model, &history))
        }))
    }

    fn watch(&self) -> Watch {
        self.shared.signals.watch()
    }
}

impl Shared {
    fn wrote(&self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        self.signals.wrote(&result);
        result
    }

    /// Looks at the directory, and tells what that showed.
    fn refresh(&self) -> Result<scan::Models, StoreError> {
        let mut known = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let (models, troubles) = scan::scan(&self.root, &known).map_err(|e| {
            self.signals.away(format!("{}: {e}", self.root.display()));
            unreachable(&self.root, e)
        })?;
        let changed = !scan::same(&known, &models);
        known.clone_from(&models);
        let last: BTreeMap<_, _> = models
            .iter()
            .filter_map(|(model, files)| Some((model.clone(), *files.last_key_value()?.0)))
            .collect();
        self.signals.read(&last, troubles);
        if changed {
            self.signals.changed();
        }
        Ok(models)
    }
}

/// The documents that could be read.
fn histories(models: &scan::Models) -> Histories {
    let readable = |files: &BTreeMap<u64, Arc<scan::Entry>>| -> Vec<Document> {
        files.values().filter_map(|entry| entry.document.as_ref().ok()).cloned().collect()
    };
    let histories = models.iter().map(|(model, files)| (model.clone(), readable(files)));
    histories.filter(|(_, history)| !history.is_empty()).collect()
}

fn unreachable(root: &Path, error: io::Error) -> StoreError {
    StoreError::Unreachable { place: root.display().to_string(), error: error.to_string() }
}
