//! Files that are read again when they change: certificates and keys, which are replaced while the
//! server runs. Looked at by their stamps, since mounted secrets give no reliable notices.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the files are looked at. A look is one `stat` a file.
const EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from the next: time, size, inode.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Files and how they looked. Taken before they are read, so that no change falls in between.
pub struct Files {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl Files {
    /// Looks at the files.
    pub fn look(paths: Vec<PathBuf>) -> Files {
        let stamps = stamps(&paths);
        Files { paths, stamps }
    }

    /// Whether they look otherwise than last time.
    fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let changed = now != self.stamps;
        self.stamps = now;
        changed
    }

    /// Calls `reload` after every change, for as long as others hold what is `held`. A failure is
    /// told once for each state of the files.
    pub fn follow<T: Send + Sync + 'static>(
        self,
        what: &'static str,
        held: &Arc<T>,
        reload: fn(&T) -> Result<(), String>,
    ) {
        let held = Arc::downgrade(held);
        let mut files = self;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let Some(held) = held.upgrade() else { return };
                let look = move || {
                    if files.changed() {
                        match reload(&held) {
                            Ok(()) => tracing::info!("{what}: read again"),
                            Err(error) => tracing::warn!(%error, "{what}: the old ones stay"),
                        }
                    }
                    files
                };
                // Reading may wait for a disk. A panic in there ends the watch, and says so itself.
                let Ok(looked) = tokio::task::spawn_blocking(look).await else { return };
                files = looked;
            }
        });
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    paths.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_and_so_is_a_file_that_went_and_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let mut files = Files::look(vec![path.clone()]);
        assert!(!files.changed());
        std::fs::write(&path, "22").unwrap();
        assert!(files.changed() && !files.changed());
        std::fs::remove_file(&path).unwrap();
        assert!(files.changed() && !files.changed());
        // As a mounted secret changes: another file of the same length under the same name.
        std::fs::write(dir.path().join("b"), "33").unwrap();
        std::fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(files.changed() && !files.changed());
    }
}
