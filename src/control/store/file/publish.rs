//! Adds to the directory, safe against other processes and against dying anywhere in between.
//!
//! A document is whole on disk before its name is linked, and the link fails if the name is taken:
//! that is the compare-and-swap. All temporary names are in the root, so that who watches the root
//! alone sees one vanish after each publication.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::Access;
use uuid::Uuid;

use super::super::{Document, KEPT, StoreError, compare, names};
use super::{scan, seal, unreachable};

/// Starts the names of what is being written.
const TEMPORARY: &str = ".tmp-";

/// Temporaries this old were left behind by the dead.
const DEAD: Duration = Duration::from_secs(600);

/// Adds one document, if its revision is next.
pub fn publish(root: &Path, model: &str, document: &Document) -> Result<(), StoreError> {
    add(root, model, document, |last| compare(model, last, document.revision))
}

/// Adds one document, if its revision `fits` behind the last.
fn add(
    root: &Path,
    model: &str,
    document: &Document,
    fits: impl Fn(u64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let dir = model_dir(root, model)?;
    let failed = |e| unreachable(root, e);
    // Most of those who are late need not write at all.
    fits(last(&dir).map_err(failed)?)?;
    make_root(root).and_then(|()| make_dir(&dir)).map_err(failed)?;
    let temporary = Temporary::new(root);
    let path = temporary.path();
    let bytes = seal::seal(document).map_err(|e| StoreError::Invalid(format!("{model}: {e}")))?;
    write(path, &bytes).map_err(failed)?;
    // Once more, since writing took its time: the first revisions may have been pruned meanwhile,
    // and their names are free.
    fits(last(&dir).map_err(failed)?)?;
    let revision = document.revision;
    match fs::hard_link(path, scan::file(&dir, revision)) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists && !is_linked(path) => {
            return Err(taken(model, &dir, revision).unwrap_or_else(failed));
        }
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let revisions = scan::revisions(&dir).map_err(failed)?;
    if !follows(&revisions, revision) {
        // Slept so long between looking and linking that others came and were pruned.
        fs::remove_file(scan::file(&dir, revision)).map_err(failed)?;
        return Err(taken(model, &dir, revision).unwrap_or_else(failed));
    }
    sync(&dir).map_err(failed)?;
    drop(temporary);
    for old in revisions.iter().rev().skip(KEPT) {
        // Another process may prune as well.
        drop(fs::remove_file(scan::file(&dir, *old)));
    }
    Ok(())
}

/// Adds what of a history is above all there is, the oldest first: who dies in between leaves a part that
/// another can go on from.
pub fn restore(root: &Path, model: &str, history: &[Document]) -> Result<(), StoreError> {
    if put_whole(root, model, history)? {
        return Ok(());
    }
    for document in history {
        let found = document.revision;
        let above = |last: u64| {
            let expected = last.saturating_add(1);
            let late = StoreError::Conflict { model: model.to_owned(), expected, found };
            if found > last { Ok(()) } else { Err(late) }
        };
        match add(root, model, document, above) {
            Ok(()) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a whole history where there is none, at once: nobody sees a part of it. False if there is one.
fn put_whole(root: &Path, model: &str, history: &[Document]) -> Result<bool, StoreError> {
    let dir = model_dir(root, model)?;
    let failed = |e| unreachable(root, e);
    if last(&dir).map_err(failed)? > 0 {
        return Ok(false);
    }
    make_root(root).map_err(failed)?;
    let temporary = Temporary::new(root);
    let path = temporary.path();
    fs::create_dir(path).map_err(failed)?;
    for document in history {
        let bytes = seal::seal(document);
        let bytes = bytes.map_err(|e| StoreError::Invalid(format!("{model}: {e}")))?;
        write(&scan::file(path, document.revision), &bytes).map_err(failed)?;
    }
    sync(path).map_err(failed)?;
    // Replaces an empty directory at most.
    match fs::rename(path, &dir) {
        Ok(()) => sync(root).map(|()| true).map_err(failed),
        Err(e) if matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            Ok(false)
        }
        Err(e) => Err(failed(e)),
    }
}

/// Writes something and removes it, and asks whether names can be added for every model.
pub fn try_out(root: &Path) -> io::Result<()> {
    make_root(root)?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() && !is_temporary(&path) {
            rustix::fs::access(&path, Access::WRITE_OK | Access::EXEC_OK)?;
        }
    }
    write(Temporary::new(root).path(), b"")
}

/// Removes what the dead left behind.
pub fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
        if is_temporary(&path) && age > DEAD {
            tracing::info!(path = %path.display(), "removing what a dead process left behind");
            if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }?;
        }
    }
    Ok(())
}

/// Whether something is still being written, or was when its writer died.
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(TEMPORARY))
}

/// A name in the root, removed with whatever it names.
struct Temporary(PathBuf);

impl Temporary {
    fn new(root: &Path) -> Temporary {
        Temporary(root.join(format!("{TEMPORARY}{}", Uuid::now_v7())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may be in its place already, or never have come to be. The sweep gets the rest.
        if fs::remove_file(&self.0).is_err_and(|e| e.kind() != ErrorKind::NotFound) {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

fn model_dir(root: &Path, model: &str) -> Result<PathBuf, StoreError> {
    let name = names::to_file(model).map(|name| root.join(name));
    name.ok_or_else(|| StoreError::Invalid(format!("{model}: the name is too long for a file")))
}

fn last(dir: &Path) -> io::Result<u64> {
    Ok(scan::revisions(dir)?.last().copied().unwrap_or_default())
}

/// The error of being late.
fn taken(model: &str, dir: &Path, found: u64) -> io::Result<StoreError> {
    let expected = last(dir)?.saturating_add(1);
    Ok(StoreError::Conflict { model: model.to_owned(), expected, found })
}

/// Whether all above `revision` were added after it. With as many as are kept above it, it could
/// have been added after it was pruned.
fn follows(revisions: &[u64], revision: u64) -> bool {
    let above = revisions.iter().rev().take_while(|r| **r > revision).count();
    let expected = revisions.last().and_then(|last| last.checked_sub(revision));
    above < KEPT && expected == u64::try_from(above).ok()
}

/// Whether a name of `path` exists beside itself: an NFS server may have linked, and its answer
/// been lost.
fn is_linked(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.nlink() > 1)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn make_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(root)?;
    root.parent().filter(|p| !p.as_os_str().is_empty()).map_or(Ok(()), sync)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), sync),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_counts_only_if_all_above_it_came_after() {
        assert!(follows(&[1], 1));
        assert!(follows(&[1, 2, 3], 1));
        assert!(follows(&[1, 3, 4], 3));
        assert!(!follows(&[1, 3], 1));
        assert!(!follows(&[], 1));
        let many: Vec<u64> = (1..=33).collect();
        assert!(!follows(&many, 1));
        assert!(follows(&many, 2));
    }

    #[test]
    fn only_what_is_old_is_swept() {
        let root = tempfile::tempdir().unwrap();
        let (old, new, other) =
            (root.path().join(".tmp-old"), root.path().join(".tmp-new"), root.path().join("m"));
        for path in [&old, &other] {
            let file = File::create(path).unwrap();
            file.set_modified(SystemTime::now() - 2 * DEAD).unwrap();
        }
        fs::create_dir(&new).unwrap();
        sweep(root.path()).unwrap();
        assert!(!old.exists() && new.exists() && other.exists());
    }
}
