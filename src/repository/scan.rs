//! What is on disk now: models, their versions, and a fingerprint of each version's files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::engine::Format;

/// Identifies the files a version is made of without reading them: path, size, times, inode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    files: Vec<(PathBuf, u64, i64, i64, u64)>,
    /// The newest modification or change.
    pub newest: SystemTime,
}

impl Fingerprint {
    /// Fingerprints the files of a model's directory that all its versions share, and those of
    /// one version's.
    pub fn read(model_dir: &Path, version_dir: &Path) -> io::Result<Fingerprint> {
        let mut files = Vec::new();
        list_files(model_dir, 0, &mut files)?;
        list_files(version_dir, 2, &mut files)?;
        files.sort();
        let newest = files.iter().map(|f| f.2).max().unwrap_or(0);
        let newest = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(newest.max(0) as u64);
        Ok(Fingerprint { files, newest })
    }
}

impl Fingerprint {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.1).sum()
    }
}

type FileStamp = (PathBuf, u64, i64, i64, u64);

fn list_files(dir: &Path, depth: usize, out: &mut Vec<FileStamp>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        // Follows links: a version is often a link into a store, as Kubernetes mounts them.
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() && depth > 0 {
            list_files(&path, depth - 1, out)?;
        } else if meta.is_file() {
            let nanos = |s: i64, n: i64| s.saturating_mul(1_000_000_000).saturating_add(n);
            let modified = nanos(meta.mtime(), meta.mtime_nsec());
            let changed = nanos(meta.ctime(), meta.ctime_nsec());
            out.push((path, meta.len(), modified, changed, meta.ino()));
        }
    }
    Ok(())
}

/// The models of a repository, by name, with the versions that hold a model file.
pub type Found = BTreeMap<String, BTreeSet<u64>>;

/// What is in a repository.
pub fn scan(root: &Path) -> io::Result<Found> {
    let mut models = BTreeMap::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        let versions = versions(&entry.path())?;
        if !versions.is_empty() || entry.path().join("model.toml").exists() {
            models.insert(name, versions);
        }
    }
    Ok(models)
}

/// The versions below a model's directory.
pub fn versions(model_dir: &Path) -> io::Result<BTreeSet<u64>> {
    let mut versions = BTreeSet::new();
    for entry in std::fs::read_dir(model_dir)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(version_number);
        if let Some(number) = number
            && Format::find(&entry.path()).is_some()
        {
            versions.insert(number);
        }
    }
    Ok(versions)
}

/// `7` is version 7; `07`, `0` and `v7` are no versions.
fn version_number(name: &str) -> Option<u64> {
    let number = name.parse::<u64>().ok().filter(|n| *n > 0)?;
    (number.to_string() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL_FILE: &str = "model.onnx";

    #[test]
    fn finds_versions_and_leaves_the_rest_alone() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["a/1", "a/12", "a/07", "a/x", "b", ".git/1"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        for file in ["a/1", "a/07", "a/x", ".git/1"] {
            std::fs::write(root.path().join(file).join(MODEL_FILE), "x").unwrap();
        }
        let found = scan(root.path()).unwrap();
        assert_eq!(found, BTreeMap::from([("a".to_owned(), BTreeSet::from([1]))]));
    }

    #[test]
    fn a_changed_file_changes_the_fingerprint() {
        let root = tempfile::tempdir().unwrap();
        let version = root.path().join("1");
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join(MODEL_FILE), "x").unwrap();
        let read = || Fingerprint::read(root.path(), &version).unwrap();
        let before = read();
        assert_eq!(before, read());
        std::fs::write(version.join(MODEL_FILE), "xy").unwrap();
        let changed = read();
        assert_ne!(before, changed);
        std::fs::write(root.path().join("labels.txt"), "cat").unwrap();
        assert_ne!(changed, read());
    }
}
