//! What was found out about engines, kept in a directory: a file for each model and machine. A file that
//! can't be read or written costs the time to find out again, and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::candidates::Candidates;
use super::trial::Tried;
use super::{Ask, Choice};
use crate::config::{OptionalFile, cache_dir};
use crate::digest::Digest;
use crate::engine::{Cpu, Engine, Precision};

/// A directory of choices.
#[derive(Clone, Debug)]
pub struct Memory {
    dir: PathBuf,
}

/// What a choice holds for.
pub(super) struct Key {
    file: String,
    machine: String,
    candidates: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    engine: String,
    precision: String,
    why: String,
    machine: String,
    candidates: String,
    tried: Vec<Tried>,
}

impl Key {
    /// `weights` tells of those that are not in the file.
    pub fn of(ask: &Ask<'_>, candidates: &Candidates, weights: &str) -> Key {
        let cpu = Cpu::read();
        let (threads, instances) = (ask.threads(), ask.instances());
        let machine = format!(
            "{} ({}), {threads} threads, {instances} at once",
            cpu.model,
            cpu.features.join(", ")
        );
        let candidates = candidates.told();
        // How engines are tried is a matter of this version, and on what inputs, one of model.toml.
        let all = format!(
            "{}\n{}\n{weights}\n{machine}\n{candidates}\n{:?}",
            env!("CARGO_PKG_VERSION"),
            ask.digest,
            ask.spec.input
        );
        let hash = Digest::of(all.as_bytes()).short();
        Key { file: format!("{}-{hash}.json", &ask.digest[..16]), machine, candidates }
    }
}

impl Memory {
    /// What the setting says: a directory, `off`, or by default `ocelli` in the user's cache directory.
    pub fn at(setting: &OptionalFile) -> Option<Memory> {
        let dir = match setting.path() {
            Some(off) if off == Path::new("off") => return None,
            Some(dir) => dir.to_owned(),
            None => cache_dir()?.join("engines"),
        };
        Some(Memory { dir })
    }

    /// What was chosen before, if it is still among the candidates.
    pub(super) fn recall(
        &self,
        key: &Key,
        candidates: &Candidates,
    ) -> Option<(Arc<dyn Engine>, Precision, String)> {
        let path = self.dir.join(&key.file);
        let text = std::fs::read(&path).ok()?;
        let kept: Kept = serde_json::from_slice(&text)
            .map_err(|e| tracing::warn!(path = %path.display(), error = %e, "not understood"))
            .ok()?;
        // A hash that two machines share would be a wonder; their words are compared all the same.
        if (&kept.machine, &kept.candidates) != (&key.machine, &key.candidates) {
            return None;
        }
        let mut pairs = candidates.pairs.iter();
        let (engine, precision) =
            pairs.find(|(e, p)| e.name() == kept.engine && p.name() == kept.precision)?;
        Some((engine.clone(), *precision, format!("remembered as {}", kept.why)))
    }

    /// Keeps a choice for the next start.
    pub(super) fn keep(&self, key: &Key, choice: &Choice, tried: &[Tried]) {
        let kept = Kept {
            engine: choice.engine.to_owned(),
            precision: choice.precision.name().to_owned(),
            why: choice.why.clone(),
            machine: key.machine.clone(),
            candidates: key.candidates.clone(),
            tried: tried.to_vec(),
        };
        if let Err(error) = self.write(&key.file, &kept) {
            let dir = self.dir.display();
            tracing::info!(%dir, %error, "the choice of an engine is not remembered");
        }
    }

    fn write(&self, name: &str, kept: &Kept) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let text = serde_json::to_vec_pretty(kept)?;
        // Under another name first: another process may read it now.
        let aside = self.dir.join(format!(".{name}.{}", std::process::id()));
        std::fs::write(&aside, text)?;
        std::fs::rename(aside, self.dir.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engines, Format};
    use crate::repository::spec::ModelSpecFile;

    fn candidates() -> Candidates {
        Candidates::of(&Engines::embedded(), &ModelSpecFile::default(), Format::Onnx).unwrap()
    }

    fn key(machine: &str) -> Key {
        let (file, machine) = ("0011-22.json".to_owned(), machine.to_owned());
        Key { file, machine, candidates: candidates().told() }
    }

    fn kept(engine: &str) -> Kept {
        Kept {
            engine: engine.to_owned(),
            precision: "f32".to_owned(),
            why: "the fastest".to_owned(),
            machine: "this".to_owned(),
            candidates: candidates().told(),
            tried: Vec::new(),
        }
    }

    #[test]
    fn what_is_kept_holds_for_its_machine_and_for_engines_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory { dir: dir.path().join("new") };
        assert!(memory.recall(&key("this"), &candidates()).is_none());
        memory.write("0011-22.json", &kept("tract")).unwrap();
        let (engine, precision, why) = memory.recall(&key("this"), &candidates()).unwrap();
        assert_eq!((engine.name(), precision), ("tract", Precision::F32));
        assert_eq!(why, "remembered as the fastest");
        assert!(memory.recall(&key("another"), &candidates()).is_none());
        memory.write("0011-22.json", &kept("gone")).unwrap();
        assert!(memory.recall(&key("this"), &candidates()).is_none());
        std::fs::write(memory.dir.join("0011-22.json"), "{").unwrap();
        assert!(memory.recall(&key("this"), &candidates()).is_none());
    }

    #[test]
    fn the_setting_names_a_directory_or_none() {
        let at = |text: &str| Memory::at(&text.parse().unwrap());
        assert!(at("off").is_none());
        assert_eq!(at("/var/cache/x").unwrap().dir, Path::new("/var/cache/x"));
    }
}
