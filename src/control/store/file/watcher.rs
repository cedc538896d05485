//! The thread that looks at the directory: when the kernel says so, and each second anyway.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Shared, publish};

/// How often to look without being told. Not all file systems tell, and none of other hosts' doings.
const POLL: Duration = Duration::from_secs(1);

/// How often to look for what the dead left behind.
const SWEEP: Duration = Duration::from_secs(600);

/// What the thread hears.
pub enum Wake {
    /// Something happened in the directory.
    Changed,
    /// It shall end.
    Stop,
}

/// Looks once, and starts the thread.
pub fn start(shared: Arc<Shared>) -> std::io::Result<mpsc::Sender<Wake>> {
    let (wake, heard) = mpsc::channel();
    let mut watched = Watched { wake: wake.clone(), inode: None, watcher: None };
    // Watched before it is looked at, lest something fall in between.
    watched.follow(&shared.root);
    // What that showed has been told.
    drop(shared.refresh());
    let run = move || run(&shared, &heard, watched);
    std::thread::Builder::new().name("ocelli-traffic".to_owned()).spawn(run)?;
    Ok(wake)
}

fn run(shared: &Shared, heard: &mpsc::Receiver<Wake>, mut watched: Watched) {
    let mut swept: Option<Instant> = None;
    loop {
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            swept = Some(Instant::now());
            if let Err(e) = publish::sweep(&shared.root) {
                tracing::debug!(error = %e, "can't sweep the traffic store");
            }
        }
        match heard.recv_timeout(POLL) {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wake::Changed) | Err(RecvTimeoutError::Timeout) => {}
        }
        // One look does for all that has happened.
        if heard.try_iter().any(|wake| matches!(wake, Wake::Stop)) {
            return;
        }
        watched.follow(&shared.root);
        drop(shared.refresh());
        if shared.signals.is_refused() && publish::try_out(&shared.root).is_ok() {
            shared.signals.wrote(&Ok(()));
        }
    }
}

/// The kernel's watch over the root. Models' directories need none: see [`publish`].
struct Watched {
    wake: mpsc::Sender<Wake>,
    inode: Option<(u64, u64)>,
    watcher: Option<RecommendedWatcher>,
}

impl Watched {
    /// Watches what is now there by that name, which may be another directory than before.
    fn follow(&mut self, root: &Path) {
        let inode = std::fs::metadata(root).ok().map(|m| (m.dev(), m.ino()));
        if inode == self.inode {
            return;
        }
        self.watcher = inode.and_then(|_| self.watch(root));
        self.inode = inode;
    }

    fn watch(&self, root: &Path) -> Option<RecommendedWatcher> {
        let wake = self.wake.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            // What is being written is no news until its temporary name vanishes.
            let news = |e: notify::Event| match e.kind {
                EventKind::Access(_) => false,
                EventKind::Remove(_) => true,
                _ => !e.paths.iter().all(|path| publish::is_temporary(path)),
            };
            if event.is_ok_and(news) {
                drop(wake.send(Wake::Changed));
            }
        };
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(root, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let told = |e| tracing::info!(error = %e, "can't watch the traffic store; polling it");
        watcher.map_err(told).ok()
    }
}
