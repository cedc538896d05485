//! `model.toml`: what a person says of a model. Unknown keys are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::batcher::{Limits, Rule, Slo};
use crate::cache::CacheSpec;
use crate::config::toml_error;
use crate::control::Traffic;
use crate::engine::Precision;
use crate::vision::{InputSpec, OutputSpec};

/// The whole of `model.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSpecFile {
    /// `auto`, or an engine's name.
    pub engine: Option<String>,
    /// What it computes in.
    pub precision: AskedPrecision,
    /// Threads its engine uses within one batch; the server's setting if not given.
    pub threads: Option<usize>,
    /// When answers should be there, `p99=50ms`: what can't be is refused.
    pub slo: Option<Slo>,
    /// The model's part of the compute threads' time while others want it too; 1 if not given.
    pub weight: Option<f64>,
    /// When it is loaded.
    pub load: LoadWhen,
    /// Batching of each version.
    pub batching: Batching,
    /// Which versions are loaded.
    pub versions: VersionPolicy,
    /// Earlier traffic tables whose versions stay warm.
    pub keep_warm: Option<usize>,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// Weights by version; without it, all goes to the latest available.
    pub traffic: BTreeMap<String, u32>,
    /// What feedback needs.
    pub feedback: FeedbackSpec,
    /// Whether answers are kept by what was asked.
    pub cache: Option<CacheSpec>,
    /// Whether inputs and predicted classes are compared with what they used to be.
    pub drift: Option<DriftSpec>,
    /// What turns images into the model's input.
    pub input: Option<InputSpec>,
    /// What turns the model's outputs into answers.
    pub output: Option<OutputSpec>,
}

/// `load`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadWhen {
    /// As soon as it is in the repository, for as long as it is.
    #[default]
    Start,
    /// When a request asks for it, which waits; it may have to make room for others when it is idle.
    Demand,
}

/// `precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedPrecision {
    /// As the model says.
    #[default]
    F32,
    /// Brain floats, whatever they do to the answers.
    Bf16,
    /// Brain floats where they are faster and the answers stay within the tolerance.
    Auto,
}

impl From<Precision> for AskedPrecision {
    fn from(precision: Precision) -> AskedPrecision {
        match precision {
            Precision::F32 => AskedPrecision::F32,
            Precision::Bf16 => AskedPrecision::Bf16,
        }
    }
}

/// `[batching]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// How batches are formed.
    pub rule: Option<Rule>,
    /// Rows of a batch at most.
    pub max_batch: Option<usize>,
    /// How long an idle engine may wait for a fuller batch, in milliseconds.
    pub max_queue_delay_ms: Option<f64>,
    /// Rows that may wait at most.
    pub max_queue_rows: Option<usize>,
    /// Batches that may run at once.
    pub instances: Option<usize>,
}

/// `[drift]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSpec {
    /// Samples that the reference is learnt from, where there is no `drift.json`.
    pub reference: usize,
    /// The last samples, which are compared with it.
    pub window: usize,
}

impl Default for DriftSpec {
    fn default() -> DriftSpec {
        DriftSpec { reference: 1000, window: 1000 }
    }
}

/// `[feedback]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedbackSpec {
    /// Whether the ids of answers carry the predicted classes, so that feedback may give labels.
    pub class: bool,
}

/// `[versions]`: one of `latest = N`, `all = true`, `specific = [..]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VersionPolicy {
    latest: Option<usize>,
    all: Option<bool>,
    specific: Option<BTreeSet<u64>>,
}

impl VersionPolicy {
    /// The newest `n`.
    pub fn latest(n: usize) -> VersionPolicy {
        VersionPolicy { latest: Some(n), ..VersionPolicy::default() }
    }

    /// All there are.
    pub fn all() -> VersionPolicy {
        VersionPolicy { all: Some(true), ..VersionPolicy::default() }
    }

    /// These, and no other.
    pub fn specific(versions: BTreeSet<u64>) -> VersionPolicy {
        VersionPolicy { specific: Some(versions), ..VersionPolicy::default() }
    }

    /// Which of the versions on disk are wanted; by default the latest one.
    pub fn select(&self, on_disk: &BTreeSet<u64>) -> BTreeSet<u64> {
        if self.all == Some(true) {
            return on_disk.clone();
        }
        match &self.specific {
            Some(specific) => on_disk.intersection(specific).copied().collect(),
            None => on_disk.iter().rev().take(self.latest.unwrap_or(1)).copied().collect(),
        }
    }

    /// Versions that are named and not on disk.
    pub fn missing(&self, on_disk: &BTreeSet<u64>) -> BTreeSet<u64> {
        if self.all == Some(true) {
            return BTreeSet::new();
        }
        self.specific.iter().flatten().filter(|v| !on_disk.contains(v)).copied().collect()
    }

    fn check(&self) -> Result<(), String> {
        let named = [self.latest.is_some(), self.all.is_some(), self.specific.is_some()];
        match named.iter().filter(|n| **n).count() {
            0 | 1 => Ok(()),
            _ => Err("[versions] takes one of `latest`, `all` and `specific`".to_owned()),
        }
    }
}

impl ModelSpecFile {
    /// Reads a model's `model.toml`, and what a version's own one overrides in it. A file that
    /// isn't there says nothing.
    pub fn read(model_dir: &Path, version_dir: Option<&Path>) -> Result<ModelSpecFile, String> {
        let path = model_dir.join("model.toml");
        let text = read_text(&path)?;
        let base = ModelSpecFile::parse(&text, &path)?;
        let Some(path) = version_dir.map(|dir| dir.join("model.toml")) else { return Ok(base) };
        let over = read_text(&path)?;
        if over.is_empty() {
            return Ok(base);
        }
        // Parsed alone first, so that a mistake is told with its own file and line.
        let alone = ModelSpecFile::parse(&over, &path)?;
        if !alone.labels.is_empty()
            || !alone.traffic.is_empty()
            || alone.versions != VersionPolicy::default()
            || alone.weight.is_some()
            || alone.load != LoadWhen::default()
        {
            return Err(format!(
                "{}: weight, load, [labels], [traffic] and [versions] belong in the model's own model.toml",
                path.display()
            ));
        }
        let table = |text: &str| {
            toml::from_str::<toml::Table>(text).map_err(|e| toml_error(&path, text, &e))
        };
        let mut merged = table(&text)?;
        overlay(&mut merged, table(&over)?);
        let merged = merged.to_string();
        ModelSpecFile::parse(&merged, &path)
    }

    /// Parses the text of a `model.toml`.
    pub fn parse(text: &str, path: &Path) -> Result<ModelSpecFile, String> {
        let spec: ModelSpecFile = toml::from_str(text).map_err(|e| toml_error(path, text, &e))?;
        let complain = |e: String| format!("{}: {e}", path.display());
        spec.versions.check().map_err(complain)?;
        spec.traffic().map_err(complain)?;
        spec.cache.as_ref().map_or(Ok(()), CacheSpec::check).map_err(complain)?;
        let batching = &spec.batching;
        let zero = [batching.max_batch, batching.max_queue_rows, batching.instances];
        if zero.contains(&Some(0)) {
            return Err(complain("the values of [batching] start at 1".to_owned()));
        }
        if batching.max_queue_delay_ms.is_some_and(|ms| !(0.0..=60_000.0).contains(&ms)) {
            return Err(complain("max_queue_delay_ms lies between 0 and 60000".to_owned()));
        }
        if spec.threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
            return Err(complain("threads lies between 1 and 1024".to_owned()));
        }
        if spec.weight.is_some_and(|weight| !(0.001..=1000.0).contains(&weight)) {
            return Err(complain("weight lies between 0.001 and 1000".to_owned()));
        }
        Ok(spec)
    }

    /// The traffic it asks for.
    pub fn traffic(&self) -> Result<Traffic, String> {
        if self.traffic.is_empty() {
            return Ok(Traffic::Latest);
        }
        let weights = self.traffic.iter().map(|(version, weight)| match version.parse() {
            Ok(v) if v > 0 => Ok((v, *weight)),
            _ => Err(format!("[traffic] {version}: versions are positive integers")),
        });
        let weights: BTreeMap<u64, u32> = weights.collect::<Result<_, String>>()?;
        if weights.values().all(|w| *w == 0) {
            return Err("[traffic] needs at least one version with a weight above 0".to_owned());
        }
        Ok(Traffic::Weighted(weights))
    }

    /// Batches that run at once, where the server runs `most` at most, with `threads` each: a model whose runs have threads
    /// of their own runs fewer, so that the CPUs are not asked for twice.
    pub fn instances(&self, most: usize, threads: usize) -> usize {
        let own = self.threads.unwrap_or(threads).max(1);
        let fit = (most * threads / own).clamp(1, most.max(1));
        self.batching.instances.unwrap_or(fit).min(most)
    }

    /// Batches of the server's that one of the model's is worth, by the threads it keeps busy.
    fn cores(&self, threads: usize) -> f64 {
        let own = self.threads.unwrap_or(threads);
        (own as f64 / threads.max(1) as f64).max(1.0)
    }

    /// The queue's limits, `defaults` where the file is silent and the server gives a run so many threads.
    pub fn limits(&self, defaults: Limits, threads: usize) -> Limits {
        let b = &self.batching;
        let delay = b.max_queue_delay_ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
        Limits {
            rule: b.rule.unwrap_or(defaults.rule),
            max_batch: b.max_batch.unwrap_or(defaults.max_batch),
            max_queue_delay: delay.unwrap_or(defaults.max_queue_delay),
            max_queue_rows: b.max_queue_rows.unwrap_or(defaults.max_queue_rows),
            instances: self.instances(defaults.instances, threads),
            alone: defaults.alone,
            slo: self.slo.or(defaults.slo),
            weight: self.weight.unwrap_or(defaults.weight),
            cores: self.cores(threads),
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(format!("can't read {}: {e}", path.display())),
    }
}

fn overlay(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => overlay(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelSpecFile, String> {
        ModelSpecFile::parse(text, Path::new("m/model.toml"))
    }

    #[test]
    fn names_the_nearest_key_for_an_unknown_one() {
        let error = parse("[batching]\nmax_bacth = 4\n").unwrap_err();
        assert!(error.contains("m/model.toml:2"), "{error}");
        assert!(error.contains("unknown key `max_bacth`; did you mean `max_batch`?"), "{error}");
    }

    #[test]
    fn reads_what_the_scheduler_goes_by() {
        let defaults = Limits { instances: 2, ..Limits::DEFAULT };
        assert_eq!(parse("").unwrap().limits(defaults, 1), defaults);
        let text = "slo = \"p99=50ms\"\nweight = 2.5\n[batching]\nrule = \"all\"";
        let slo = Slo { share: 0.99, within: Duration::from_millis(50) };
        let wanted = Limits { rule: Rule::All, slo: Some(slo), weight: 2.5, ..defaults };
        assert_eq!(parse(text).unwrap().limits(defaults, 1), wanted);
        let instances = |text: &str| {
            let spec = parse(text).unwrap();
            [spec.instances(8, 1), spec.instances(2, 4), spec.limits(defaults, 1).instances]
        };
        let cores = |text: &str| [1, 4].map(|n| parse(text).unwrap().limits(defaults, n).cores);
        assert_eq!([cores(""), cores("threads = 2")], [[1.0, 1.0], [2.0, 1.0]]);
        assert_eq!(instances(""), [8, 2, 2]);
        assert_eq!(instances("threads = 2"), [4, 2, 1]);
        assert_eq!(instances("threads = 3"), [2, 2, 1]);
        assert_eq!(instances("threads = 64"), [1, 1, 1]);
        assert_eq!(instances("threads = 2\n[batching]\ninstances = 3"), [3, 2, 2]);
        let error = parse("slo = \"50ms\"").unwrap_err();
        assert!(error.contains("m/model.toml:1") && error.contains("write p99=50ms"), "{error}");
        assert!(parse("threads = 0").unwrap_err().contains("threads lies between"));
        assert!(parse("weight = 0").unwrap_err().contains("weight lies between"));
        assert!(parse("[batching]\nrule = \"some\"").unwrap_err().contains("`tuned` or `all`"));
    }

    #[test]
    fn a_precision_is_32_bits_unless_it_is_asked_for() {
        assert_eq!(parse("").unwrap().precision, AskedPrecision::F32);
        assert_eq!(parse("precision = \"auto\"").unwrap().precision, AskedPrecision::Auto);
        let error = parse("precision = \"fp16\"").unwrap_err();
        assert!(error.contains("f32") && error.contains("bf16"), "{error}");
    }

    #[test]
    fn selects_versions_by_policy() {
        let disk = BTreeSet::from([1, 2, 5]);
        let select = |text: &str| parse(text).unwrap().versions.select(&disk);
        assert_eq!(select(""), BTreeSet::from([5]));
        assert_eq!(select("[versions]\nlatest = 2"), BTreeSet::from([2, 5]));
        assert_eq!(select("[versions]\nall = true"), disk);
        assert_eq!(select("[versions]\nspecific = [1, 9]"), BTreeSet::from([1]));
        assert!(parse("[versions]\nlatest = 1\nall = true").is_err());
    }

    #[test]
    fn reads_traffic_and_refuses_what_is_none() {
        let traffic = parse("[traffic]\n1 = 90\n2 = 10").unwrap().traffic().unwrap();
        assert_eq!(traffic, Traffic::Weighted(BTreeMap::from([(1, 90), (2, 10)])));
        assert!(parse("[traffic]\none = 90").unwrap_err().contains("positive integers"));
        assert!(parse("[traffic]\n1 = 0").is_err());
    }

    #[test]
    fn a_version_overrides_its_model() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("2");
        std::fs::create_dir(&version).unwrap();
        std::fs::write(dir.path().join("model.toml"), "[batching]\nmax_batch = 4\ninstances = 1")
            .unwrap();
        std::fs::write(version.join("model.toml"), "[batching]\nmax_batch = 2").unwrap();
        let spec = ModelSpecFile::read(dir.path(), Some(&version)).unwrap();
        assert_eq!((spec.batching.max_batch, spec.batching.instances), (Some(2), Some(1)));
        std::fs::write(version.join("model.toml"), "[traffic]\n1 = 1").unwrap();
        assert!(ModelSpecFile::read(dir.path(), Some(&version)).is_err());
    }
}
