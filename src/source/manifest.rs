//! The manifest of a repository: which files its models are made of, and the SHA-256 of each.
//!
//! A web server can't be listed, so there it is the listing; for every kind of source it is what
//! digests are checked against, and what a person signs. `ocelli manifest DIR` writes one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::{Key, NoKey};
use crate::config::explain;
use crate::digest::Digest;

/// Its name in a repository.
pub const NAME: &str = "ocelli-models.json";

/// Bytes of a manifest at most.
pub const MOST_BYTES: u64 = 16 << 20;

const FORMAT: u32 = 1;

/// What is said of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its bytes must be.
    pub sha256: Digest,
    /// How many, if it is said.
    pub size: Option<u64>,
    /// Where it is, relative to the manifest or absolute; without it, at its path beside the manifest.
    pub url: Option<String>,
}

/// The files by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(BTreeMap<Key, Entry>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl Manifest {
    /// Reads a manifest's text, or says what is wrong with it. One mistake refuses all of it: who
    /// wrote it meant something else.
    pub fn parse(text: &[u8]) -> Result<Manifest, String> {
        let document: Document =
            serde_json::from_slice(text).map_err(|e| explain(&e.to_string()))?;
        if document.format != FORMAT {
            return Err(format!("format is {}, must be {FORMAT}", document.format));
        }
        let mut files = BTreeMap::new();
        for File { path, sha256, size, url } in document.files {
            let key = Key::parse(&path).map_err(|no| match no {
                NoKey::Unsafe(why) => format!("the path {path:?} is refused: {why}"),
                NoKey::Foreign => {
                    format!("the path {path:?} is no model's: write NAME/FILE or NAME/VERSION/FILE")
                }
            })?;
            if files.insert(key, Entry { sha256, size, url }).is_some() {
                return Err(format!("the path {path:?} is there twice"));
            }
        }
        let keys: BTreeSet<String> = files.keys().map(Key::to_string).collect();
        for key in &keys {
            let inside = format!("{key}/");
            let next = keys.range(inside.clone()..).next();
            if let Some(other) = next.filter(|other| other.starts_with(&inside)) {
                return Err(format!("{key:?} is a file, and a directory in {other:?}"));
            }
        }
        Ok(Manifest(files))
    }

    /// Lists the models in a directory.
    pub fn of_directory(dir: &Path) -> std::io::Result<Manifest> {
        let mut files = BTreeMap::new();
        walk(dir, "", &mut files)?;
        Ok(Manifest(files))
    }

    /// As it is written: a file a line, so that a change is a line's change.
    pub fn text(&self) -> serde_json::Result<String> {
        let lines = self.0.iter().map(|(key, entry)| {
            let Entry { sha256, size, url } = entry.clone();
            serde_json::to_string(&File { path: key.to_string(), sha256, size, url })
        });
        let lines = lines.collect::<Result<Vec<_>, _>>()?.join(",\n  ");
        let inner = if lines.is_empty() { String::new() } else { format!("\n  {lines}\n") };
        Ok(format!("{{\"format\": {FORMAT}, \"files\": [{inner}]}}\n"))
    }

    /// The files by their paths.
    pub fn files(&self) -> &BTreeMap<Key, Entry> {
        &self.0
    }
}

fn walk(dir: &Path, at: &str, files: &mut BTreeMap<Key, Entry>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // What has no such name is no model's.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        // Follows links, as serving does.
        let meta = std::fs::metadata(entry.path())?;
        if meta.is_dir() {
            walk(&entry.path(), &path, files)?;
        } else if let Ok(key) = Key::parse(&path) {
            let sha256 = Digest::of_file(&entry.path())?;
            files.insert(key, Entry { sha256, size: Some(meta.len()), url: None });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(files: &str) -> Result<Manifest, String> {
        Manifest::parse(format!(r#"{{"format": 1, "files": [{files}]}}"#).as_bytes())
    }

    fn file(path: &str) -> String {
        format!(r#"{{"path": {path:?}, "sha256": "{}"}}"#, Digest::of(b""))
    }

    #[test]
    fn reads_what_it_writes_of_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("m/model.toml", "keep_warm = 0"),
            ("m/1/model.onnx", "onnx"),
            ("m/1/golden/a.json", "{}"),
            ("m/notes/a.md", "none of the model's"),
            ("README.md", "neither"),
            (".git/1/config", "nor that"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let manifest = Manifest::of_directory(dir.path()).unwrap();
        let told: Vec<_> =
            manifest.files().iter().map(|(k, e)| (k.to_string(), e.size.unwrap())).collect();
        let expected = [("m/1/golden/a.json", 2), ("m/1/model.onnx", 4), ("m/model.toml", 13)];
        assert_eq!(told, expected.map(|(k, size)| (k.to_owned(), size)));
        let text = manifest.text().unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
        let none = Manifest::default();
        assert_eq!(Manifest::parse(none.text().unwrap().as_bytes()), Ok(none));
    }

    #[test]
    fn a_file_may_be_elsewhere() {
        let one = r#"{"path": "m/1/model.onnx", "url": "https://h/m.onnx", "size": 3, "sha256": "#;
        let manifest = parse(&format!("{one}\"{}\"}}", Digest::of(b"abc"))).unwrap();
        let entry = manifest.files().values().next().unwrap();
        let expected = Entry {
            sha256: Digest::of(b"abc"),
            size: Some(3),
            url: Some("https://h/m.onnx".into()),
        };
        assert_eq!(*entry, expected);
    }

    #[test]
    fn a_mistake_is_named() {
        let twice = [file("m/1/a"), file("m/1/a")].join(",");
        let both = [file("m/1/a"), file("m/1/a-b"), file("m/1/a/b")].join(",");
        for (files, says) in [
            (file("../m/1/model.onnx"), "\"../m/1/model.onnx\" is refused: it has a part"),
            (file("/etc/passwd"), "is refused: it has an empty part"),
            (file("README.md"), "NAME/VERSION/FILE"),
            (twice, "\"m/1/a\" is there twice"),
            (both, "\"m/1/a\" is a file, and a directory in \"m/1/a/b\""),
            (file("m/1/a").replace("sha256", "sha265"), "did you mean `sha256`?"),
            (file("m/1/a").replace("e3b0", "x"), "64 digits"),
            (r#"{"path": "m/1/a"}"#.to_owned(), "missing field `sha256`"),
        ] {
            let told = parse(&files).unwrap_err();
            assert!(told.contains(says), "{told}");
        }
        let told = Manifest::parse(br#"{"format": 2, "files": []}"#).unwrap_err();
        assert_eq!(told, "format is 2, must be 1");
    }

    proptest! {
        #[test]
        fn anything_is_refused_or_read_back_as_it_was(
            paths in prop::collection::vec("[ab]/([12]/)?[a-c./]{1,4}", 0..6),
            size in prop::option::of(any::<u64>()),
        ) {
            let files: Vec<File> = paths
                .iter()
                .map(|p| File { path: p.clone(), sha256: Digest::of(p.as_bytes()), size, url: None })
                .collect();
            let text = serde_json::to_vec(&Document { format: 1, files }).unwrap();
            if let Ok(manifest) = Manifest::parse(&text) {
                prop_assert_eq!(manifest.files().len(), paths.len());
                let again = Manifest::parse(manifest.text().unwrap().as_bytes());
                prop_assert_eq!(again, Ok(manifest));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&text);
        }
    }
}
