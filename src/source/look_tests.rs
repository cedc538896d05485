//! Looks at a real directory by its URL: what each fetches, publishes and leaves.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::source::listing::Trust;
use crate::source::stores::{Access, Stores};
use crate::telemetry::metrics::Metrics;

const BOUNDS: Bounds = Bounds { stall: Duration::from_secs(5), most: 1000 };

struct Rig {
    at: tempfile::TempDir,
    looks: Looks,
    changes: Cell<usize>,
}

impl Rig {
    fn new(files: &[(&str, &str)]) -> Rig {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("source")).unwrap();
        let url = format!("file://{}/source", at.path().display());
        let access = Access { stall: BOUNDS.stall, ca: None, allow_http: false };
        let stores = Stores::new(access).unwrap();
        let reader = Reader::new(url.parse().unwrap(), Trust::default(), stores, BOUNDS);
        let cache = Cache::open(&at.path().join("cache"), &url).unwrap();
        let metrics = Metrics::new(true).unwrap().source().unwrap();
        let notes = Notes::new(cache.index());
        let looks = Looks { reader, cache, bounds: BOUNDS, newest: 0, metrics, notes };
        let rig = Rig { at, looks, changes: Cell::new(0) };
        rig.put(files);
        rig
    }

    fn put(&self, files: &[(&str, &str)]) {
        for (file, text) in files {
            let path = self.at.path().join("source").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.at.path().join("source").join(path)).unwrap();
    }

    /// Models, whether something lacks, and how often what is mirrored changed.
    async fn look(&mut self) -> Result<(usize, bool, usize), SourceError> {
        self.changes.set(0);
        let changed = || self.changes.set(self.changes.get() + 1);
        let looked = self.looks.look(&changed).await?;
        Ok((looked.models, looked.lacking, self.changes.get()))
    }

    fn read(&self, file: &str) -> Option<String> {
        let path: &Path = &self.looks.cache.models_dir();
        fs::read_to_string(path.join(file)).ok()
    }
}

#[tokio::test]
async fn each_look_changes_what_changed() {
    let mut rig = Rig::new(&[("m/model.toml", "t"), ("m/1/model.onnx", "a"), ("n/1/x", "b")]);
    assert_eq!(rig.look().await.unwrap(), (2, false, 2));
    assert_eq!(rig.read("m/1/model.onnx").as_deref(), Some("a"));
    assert_eq!(rig.look().await.unwrap(), (2, false, 0));
    rig.put(&[("m/2/model.onnx", "c")]);
    assert_eq!(rig.look().await.unwrap(), (2, false, 1));
    rig.remove("n");
    assert_eq!(rig.look().await.unwrap(), (1, false, 1));
    assert_eq!(rig.read("n/1/x"), None);
    // Nothing at all is likelier to be a mistake.
    rig.remove("m");
    assert_eq!(rig.look().await.err().unwrap().reason(), "empty");
    assert_eq!(rig.read("m/2/model.onnx").as_deref(), Some("c"));
}

#[tokio::test]
async fn what_can_not_be_had_holds_nothing_else_up_and_is_told() {
    let large = "x".repeat(2000);
    let mut rig = Rig::new(&[("m/1/model.onnx", "a"), ("m/2/model.onnx", &large), ("n/1/x", "b")]);
    assert_eq!(rig.look().await.unwrap(), (2, true, 2));
    assert_eq!((rig.read("m/1/model.onnx").is_some(), rig.read("m/2/model.onnx")), (true, None));
    let failing = rig.looks.failing();
    assert_eq!((failing.len(), failing[0].reason), (1, "too_large"));
    assert_eq!(failing[0].file, "m/2/model.onnx");
    assert!(rig.looks.next_due().is_some());
    rig.put(&[("m/2/model.onnx", "c")]);
    assert_eq!(rig.look().await.unwrap(), (2, false, 1));
    assert!(rig.looks.failing().is_empty() && rig.looks.next_due().is_none());
}

#[tokio::test]
async fn a_manifest_decides_what_is_there_and_what_it_must_be() {
    let mut rig = Rig::new(&[("m/1/model.onnx", "a"), ("m/2/model.onnx", "b")]);
    let manifest = |sha: &str| {
        format!(r#"{{"format": 1, "files": [{{"path": "m/1/model.onnx", "sha256": "{sha}"}}]}}"#)
    };
    let right = Digest::of(b"a").to_string();
    rig.put(&[("ocelli-models.json", &manifest(&Digest::of(b"other").to_string()))]);
    assert_eq!(rig.look().await.unwrap(), (0, true, 0));
    assert_eq!(rig.looks.failing()[0].reason, "digest");
    rig.put(&[("ocelli-models.json", &manifest(&right))]);
    assert_eq!(rig.look().await.unwrap(), (1, false, 1));
    assert_eq!((rig.read("m/1/model.onnx").as_deref(), rig.read("m/2/x")), (Some("a"), None));
    rig.put(&[("ocelli-models.json", "{}")]);
    assert_eq!(rig.look().await.err().unwrap().reason(), "manifest");
    assert!(rig.read("m/1/model.onnx").is_some());
    // A manifest that says that there is nothing is believed.
    rig.put(&[("ocelli-models.json", r#"{"format": 1, "files": []}"#)]);
    assert_eq!(rig.look().await.unwrap(), (0, false, 1));
}
