//! What listed objects turned out to be: without a manifest, only who fetched an object knows its
//! digest. Losing the index costs fetching once more, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::digest::Digest;

/// By the paths of objects.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index(BTreeMap<String, Fetched>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fetched {
    /// What told the object from others of its name.
    tag: String,
    sha256: Digest,
}

impl Index {
    /// As it was written; empty if it can't be read.
    pub fn read(path: &Path) -> Index {
        let Ok(text) = std::fs::read(path) else { return Index::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "not understood: all is fetched again");
            Index::default()
        })
    }

    /// As it is to be written.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The digest of an object that is still what it was.
    pub fn digest(&self, key: &Key, tag: &str) -> Option<Digest> {
        self.0.get(&key.to_string()).filter(|f| f.tag == tag).map(|f| f.sha256)
    }

    /// An object was fetched.
    pub fn insert(&mut self, key: &Key, tag: &str, sha256: Digest) {
        self.0.insert(key.to_string(), Fetched { tag: tag.to_owned(), sha256 });
    }

    /// Forgets what the source has no longer.
    pub fn keep_only(&mut self, keys: &BTreeSet<Key>) {
        let keys: BTreeSet<String> = keys.iter().map(Key::to_string).collect();
        self.0.retain(|key, _| keys.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written_and_knows_only_what_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        assert_eq!(Index::read(&path), Index::default());
        let (key, digest) = (Key::parse("m/1/model.onnx").unwrap(), Digest::of(b"x"));
        let mut index = Index::default();
        index.insert(&key, "\"etag\"", digest);
        std::fs::write(&path, index.text().unwrap()).unwrap();
        let mut again = Index::read(&path);
        assert_eq!(again, index);
        assert_eq!(again.digest(&key, "\"etag\""), Some(digest));
        assert_eq!(again.digest(&key, "\"other\""), None);
        again.keep_only(&BTreeSet::new());
        assert_eq!(again, Index::default());
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Index::read(&path), Index::default());
    }
}
