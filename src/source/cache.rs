//! The mirror on disk.
//!
//! ```text
//! lock               held by the one process that uses it
//! source             what it mirrors, and whom it trusted
//! index.json         what listed objects turned out to be
//! incoming/          what is not whole yet; emptied at the start
//! objects/SHA-256    whole files, never written to again
//! trees/MODEL/ID/    a model's directory, of links to objects
//! models/MODEL       link to the tree in force: what the repository room scans
//! ```
//!
//! A model changes by one rename of its link. So whoever reads, and whenever the process is killed,
//! finds the old directory or the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::error::SourceError;
use super::index::Index;
use super::plan::Tree;
use super::tree;
use crate::digest::{Digest, Hasher};

/// The directory, in use.
pub struct Cache {
    dir: PathBuf,
    /// Names what comes in.
    counter: AtomicU64,
    _lock: File,
}

/// A file that comes in. Dropped, it is gone.
pub struct Incoming {
    path: PathBuf,
    file: File,
    hasher: Hasher,
}

impl Cache {
    /// Takes a directory, makes it if need be, and clears away what a killed process has left and what
    /// is not what its name says. What was mirrored from elsewhere, or on another's word, is not served.
    pub fn open(dir: &Path, source: &str) -> Result<Cache, SourceError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| SourceError::disk(&path, error)
        };
        for part in ["incoming", "objects", "trees", "models"] {
            fs::create_dir_all(dir.join(part)).map_err(at(&dir.join(part)))?;
        }
        let lock = dir.join("lock");
        let file = File::options().create(true).append(true).open(&lock).map_err(at(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SourceError::Locked(dir.to_owned())),
            locked => locked.map_err(|error| SourceError::disk(&lock, error.into()))?,
        }
        let cache = Cache { dir: dir.to_owned(), counter: AtomicU64::new(0), _lock: file };
        let cleaned = cache.clean(source);
        cleaned.map_err(at(dir))?;
        Ok(cache)
    }

    fn clean(&self, now: &str) -> io::Result<()> {
        fs::remove_dir_all(self.dir.join("incoming"))?;
        fs::create_dir(self.dir.join("incoming"))?;
        let source = self.dir.join("source");
        let before = fs::read_to_string(&source).unwrap_or_default();
        if before != now {
            if !before.is_empty() {
                tracing::warn!(dir = %self.dir.display(), before, now,
                    "the model cache is another source's: nothing of it is served");
            }
            self.trees_by_model()?.into_keys().try_for_each(|model| self.unlink(&model))?;
            drop(fs::remove_file(self.index_path()));
            self.write_whole(&source, now.as_bytes())?;
        }
        for (digest, path) in self.objects()? {
            let is = Digest::of_file(&path)?;
            if Some(is) != digest {
                tracing::error!(path = %path.display(), %is, "a cached file is not what its name \
                    says: it is removed, and fetched again");
                fs::remove_file(path)?;
            }
        }
        for (model, tree) in self.trees_by_model()? {
            if let Err(error) = tree {
                tracing::error!(model, %error, "a cached model is not whole: it is not served \
                    until it is fetched again");
                self.unlink(&model)?;
            }
        }
        Ok(())
    }

    /// The directory of models.
    pub fn models_dir(&self) -> PathBuf {
        models_dir(&self.dir)
    }

    /// The models in force.
    pub fn trees(&self) -> Result<BTreeMap<String, Tree>, SourceError> {
        let all = self.trees_by_model().map_err(|e| self.disk("models", e))?;
        all.into_iter()
            .map(|(model, tree)| Ok((model, tree.map_err(|e| self.disk("trees", e))?)))
            .collect()
    }

    /// A model's directory in force.
    pub fn tree(&self, model: &str) -> Result<Option<Tree>, SourceError> {
        match tree::read(&self.models_dir().join(model)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|e| self.disk("models", e)),
        }
    }

    fn trees_by_model(&self) -> io::Result<BTreeMap<String, io::Result<Tree>>> {
        let mut trees = BTreeMap::new();
        for entry in fs::read_dir(self.models_dir())? {
            let entry = entry?;
            // What is no link is somebody else's, such as the traffic store.
            if entry.file_type()?.is_symlink()
                && let Ok(model) = entry.file_name().into_string()
            {
                trees.insert(model, tree::read(&entry.path()));
            }
        }
        Ok(trees)
    }

    /// Whether an object is here.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.object_path(digest).exists()
    }

    /// A place for a file that comes in.
    pub fn incoming(&self) -> Result<Incoming, SourceError> {
        let path = self.fresh("object");
        let file = File::create_new(&path).map_err(|e| SourceError::disk(&path, e))?;
        Ok(Incoming { path, file, hasher: Hasher::default() })
    }

    /// Takes in a file whose digest was found right.
    pub fn adopt(&self, incoming: Incoming, digest: Digest) -> Result<Digest, SourceError> {
        let path = self.object_path(&digest);
        let kept = incoming.file.sync_all().and_then(|()| fs::rename(&incoming.path, &path));
        kept.and_then(|()| sync(&self.dir.join("objects")))
            .map_err(|e| SourceError::disk(&path, e))?;
        Ok(digest)
    }

    /// Puts a model's directory into force.
    pub fn publish(&self, model: &str, tree: &Tree) -> Result<(), SourceError> {
        self.link(model, tree).map_err(|e| self.disk("trees", e))
    }

    fn link(&self, model: &str, tree: &Tree) -> io::Result<()> {
        let id = tree::id(tree);
        let trees = self.dir.join("trees").join(model);
        let dir = trees.join(&id);
        if !dir.exists() {
            let fresh = self.fresh("tree");
            tree::write(&fresh, tree, Path::new("../../../objects"))?;
            fs::create_dir_all(&trees)?;
            fs::rename(fresh, &dir)?;
            sync(&trees)?;
            sync(&self.dir.join("trees"))?;
        }
        let fresh = self.fresh("link");
        symlink(Path::new("../trees").join(model).join(id), &fresh)?;
        fs::rename(fresh, self.models_dir().join(model))?;
        sync(&self.models_dir())
    }

    /// Takes a model's directory out of force.
    pub fn remove(&self, model: &str) -> Result<(), SourceError> {
        self.unlink(model).map_err(|e| self.disk("models", e))
    }

    fn unlink(&self, model: &str) -> io::Result<()> {
        fs::remove_file(self.models_dir().join(model))?;
        sync(&self.models_dir())
    }

    /// Frees what no model in force is made of, but for `coming`.
    pub fn collect(&self, coming: &BTreeSet<Digest>) -> Result<(), SourceError> {
        let mut kept = coming.clone();
        let trees = self.trees()?;
        kept.extend(trees.values().flat_map(|tree| tree.values()));
        self.sweep(&trees, &kept).map_err(|e| self.disk("objects", e))
    }

    fn sweep(&self, trees: &BTreeMap<String, Tree>, kept: &BTreeSet<Digest>) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.join("trees"))? {
            let dir = entry?;
            let model = dir.file_name();
            let id = model.to_str().and_then(|m| trees.get(m)).map(tree::id);
            let Some(id) = id else {
                fs::remove_dir_all(dir.path())?;
                continue;
            };
            for entry in fs::read_dir(dir.path())? {
                let entry = entry?;
                if entry.file_name() != id.as_str() {
                    fs::remove_dir_all(entry.path())?;
                }
            }
        }
        for (digest, path) in self.objects()? {
            if digest.is_none_or(|digest| !kept.contains(&digest)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// What listed objects turned out to be.
    pub fn index(&self) -> Index {
        Index::read(&self.index_path())
    }

    /// Keeps that.
    pub fn keep_index(&self, index: &Index) -> Result<(), SourceError> {
        let path = self.index_path();
        let text = index.text().map_err(io::Error::other);
        text.and_then(|text| self.write_whole(&path, &text))
            .map_err(|e| SourceError::disk(&path, e))
    }

    fn write_whole(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let fresh = self.fresh("file");
        let mut file = File::create_new(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }

    fn objects(&self) -> io::Result<Vec<(Option<Digest>, PathBuf)>> {
        let entries = fs::read_dir(self.dir.join("objects"))?;
        let one = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
            Ok((digest, entry.path()))
        };
        entries.map(one).collect()
    }

    fn object_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("objects").join(digest.to_string())
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    fn fresh(&self, what: &str) -> PathBuf {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        self.dir.join("incoming").join(format!("{what}-{n}"))
    }

    fn disk(&self, part: &str, error: io::Error) -> SourceError {
        SourceError::disk(&self.dir.join(part), error)
    }
}

impl Incoming {
    /// The next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|e| SourceError::disk(&self.path, e))
    }

    /// Of all that was written.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // One that was adopted is elsewhere by now.
        drop(fs::remove_file(&self.path));
    }
}

/// Where a cache has its models.
pub fn models_dir(dir: &Path) -> PathBuf {
    dir.join("models")
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "s3://b/models";

    fn put(cache: &Cache, bytes: &[u8]) -> Digest {
        let mut incoming = cache.incoming().unwrap();
        incoming.write(bytes).unwrap();
        let digest = incoming.digest();
        cache.adopt(incoming, digest).unwrap()
    }

    fn tree(cache: &Cache, files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(f, text)| ((*f).to_owned(), put(cache, text.as_bytes()))).collect()
    }

    fn read(cache: &Cache, file: &str) -> io::Result<String> {
        fs::read_to_string(cache.models_dir().join(file))
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_model_is_published_changed_and_removed_and_what_it_was_made_of_goes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), URL).unwrap();
        let one =
            tree(&cache, &[("model.toml", "t"), ("1/model.onnx", "a"), ("1/golden/x/y", "g")]);
        cache.publish("m", &one).unwrap();
        assert_eq!(read(&cache, "m/1/model.onnx").unwrap(), "a");
        assert_eq!(read(&cache, "m/1/golden/x/y").unwrap(), "g");
        assert_eq!(cache.trees().unwrap(), BTreeMap::from([("m".to_owned(), one.clone())]));
        assert_eq!(cache.tree("m").unwrap(), Some(one.clone()));
        assert_eq!(cache.tree("n").unwrap(), None);
        let two = tree(&cache, &[("model.toml", "t"), ("2/model.onnx", "b")]);
        cache.publish("m", &two).unwrap();
        assert_eq!(read(&cache, "m/2/model.onnx").unwrap(), "b");
        assert!(read(&cache, "m/1/model.onnx").is_err());
        // Coming back to what was is as good as anything new.
        cache.publish("m", &one).unwrap();
        cache.publish("m", &two).unwrap();
        cache.collect(&BTreeSet::from([Digest::of(b"g")])).unwrap();
        let mut left = [b"t", b"b", b"g"].map(|b| Digest::of(b).to_string());
        left.sort();
        assert_eq!(names(&dir.path().join("objects")), left);
        assert_eq!(names(&dir.path().join("trees/m")), [tree::id(&two)]);
        cache.remove("m").unwrap();
        cache.collect(&BTreeSet::new()).unwrap();
        for part in ["objects", "trees", "models", "incoming"] {
            assert!(names(&dir.path().join(part)).is_empty(), "{part}");
        }
    }

    #[test]
    fn a_file_that_stays_is_the_same_file_when_its_model_changes() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), URL).unwrap();
        let stamp = || {
            let meta = fs::metadata(cache.models_dir().join("m/1/model.onnx")).unwrap();
            (meta.ino(), meta.ctime_nsec(), meta.mtime_nsec())
        };
        cache.publish("m", &tree(&cache, &[("1/model.onnx", "a")])).unwrap();
        let before = stamp();
        let mut more = tree(&cache, &[("2/model.onnx", "b")]);
        more.insert("1/model.onnx".to_owned(), Digest::of(b"a"));
        cache.publish("m", &more).unwrap();
        assert_eq!(stamp(), before);
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_what_was_whole_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), URL).unwrap();
        cache.publish("whole", &tree(&cache, &[("1/model.onnx", "a")])).unwrap();
        cache.publish("rotten", &tree(&cache, &[("1/model.onnx", "b")])).unwrap();
        let mut half = cache.incoming().unwrap();
        half.write(b"half").unwrap();
        std::mem::forget(half);
        drop(cache);
        let rotten = dir.path().join("objects").join(Digest::of(b"b").to_string());
        fs::write(&rotten, "B").unwrap();
        fs::create_dir(dir.path().join("models/.ocelli")).unwrap();
        let cache = Cache::open(dir.path(), URL).unwrap();
        assert!(names(&dir.path().join("incoming")).is_empty());
        assert_eq!(read(&cache, "whole/1/model.onnx").unwrap(), "a");
        assert!(!rotten.exists());
        assert_eq!(names(&cache.models_dir()), [".ocelli", "whole"]);
    }

    #[test]
    fn a_cache_is_one_processs_and_one_sources() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path(), URL).unwrap();
        cache.publish("m", &tree(&cache, &[("1/model.onnx", "a")])).unwrap();
        let mut index = Index::default();
        let key = crate::source::key::Key::parse("m/1/model.onnx").unwrap();
        index.insert(&key, "t", Digest::of(b"a"));
        cache.keep_index(&index).unwrap();
        let second = Cache::open(dir.path(), URL).err().unwrap();
        assert!(matches!(&second, SourceError::Locked(at) if at == dir.path()), "{second}");
        drop(cache);
        let cache = Cache::open(dir.path(), URL).unwrap();
        assert_eq!((cache.trees().unwrap().len(), cache.index()), (1, index));
        drop(cache);
        let other = Cache::open(dir.path(), "s3://other").unwrap();
        assert_eq!((other.trees().unwrap().len(), other.index()), (0, Index::default()));
        // The bytes are what they are, wherever they come from.
        assert!(other.holds(&Digest::of(b"a")));
    }
}
