//! What is in the directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{Document, KEPT, names};
use super::seal;

/// What a file held, and by what to tell that it still does.
pub struct Entry {
    stamp: Stamp,
    /// The document, or what is wrong with the file.
    pub document: Result<Document, String>,
}

/// Files of each model, by revision.
pub type Models = BTreeMap<String, BTreeMap<u64, Arc<Entry>>>;

#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The file of a revision.
pub fn file(dir: &Path, revision: u64) -> PathBuf {
    dir.join(format!("{revision:020}.json"))
}

/// Revisions that have a file, readable or not, lowest first. No directory has none.
pub fn revisions(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".json"));
        let number = number.filter(|n| n.len() == 20 && n.bytes().all(|b| b.is_ascii_digit()));
        found.extend(number.and_then(|n| n.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads the last files of each model, but not those that `known` has already read. What can't be
/// read of one model is told in words, and hides no other.
pub fn scan(root: &Path, known: &Models) -> io::Result<(Models, Vec<String>)> {
    let (mut models, mut troubles) = (Models::new(), Vec::new());
    let entries = match fs::read_dir(root) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok((models, troubles)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Some(model) = entry.file_name().to_str().and_then(names::from_file) else { continue };
        let before = known.get(&model);
        match scan_model(&entry.path(), before) {
            Ok(files) if files.is_empty() => {}
            Ok(files) => {
                if let Some((revision, newest)) = files.last_key_value()
                    && let Err(error) = &newest.document
                {
                    troubles.push(format!("{model}: revision {revision} is unreadable: {error}"));
                }
                models.insert(model, files);
            }
            // A file beside the models.
            Err(e) if e.kind() == ErrorKind::NotADirectory => {}
            Err(e) => {
                troubles.push(format!("{model}: {e}"));
                models.extend(before.map(|files| (model, files.clone())));
            }
        }
    }
    troubles.sort_unstable();
    Ok((models, troubles))
}

type Files = BTreeMap<u64, Arc<Entry>>;

fn scan_model(dir: &Path, before: Option<&Files>) -> io::Result<Files> {
    let mut files = Files::new();
    for revision in revisions(dir)?.into_iter().rev().take(KEPT) {
        let before = before.and_then(|files| files.get(&revision));
        // Others may prune while this reads.
        files.extend(read(&file(dir, revision), revision, before).map(|entry| (revision, entry)));
    }
    Ok(files)
}

fn read(path: &Path, revision: u64, before: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
    let stamp = match fs::metadata(path) {
        Ok(metadata) => Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        },
        Err(_) => return None,
    };
    let before = before.filter(|before| before.stamp == stamp);
    if let Some(entry) = before.filter(|before| before.document.is_ok()) {
        return Some(Arc::clone(entry));
    }
    let document = match fs::read(path) {
        Ok(bytes) => seal::unseal(&bytes, revision),
        Err(e) if e.kind() == ErrorKind::NotFound => return None,
        Err(e) => Err(e.to_string()),
    };
    // It is no news that it still can't be read.
    let same = before.filter(|before| before.document == document);
    Some(same.map_or_else(|| Arc::new(Entry { stamp, document }), Arc::clone))
}

/// Whether nothing was read anew between two scans.
pub fn same(a: &Models, b: &Models) -> bool {
    let files = |a: &Files, b: &Files| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && files(a.1, b.1))
}
