//! What callers have asked for, beside what the files say: which models are in service, and
//! with which versions and labels. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::commands::ModelConfig;
use super::scan::Found;
use super::spec::{ModelSpecFile, VersionPolicy};
use crate::error::InferError;

/// What holds until it is asked otherwise. The files alone decide at first.
#[derive(Debug, Default)]
pub struct Orders {
    /// Whether a model was loaded or unloaded last, since the list.
    asked: BTreeMap<String, bool>,
    /// Models that are loaded on demand, and were asked for.
    demanded: BTreeSet<String>,
    /// The newest list; without one, every model of the repository is in service.
    list: Option<BTreeMap<String, ModelConfig>>,
}

impl Orders {
    /// Whether a model is to be in service.
    pub fn serves(&self, model: &str) -> bool {
        let listed = || self.list.as_ref().is_none_or(|list| list.contains_key(model));
        self.asked.get(model).copied().unwrap_or_else(listed)
    }

    /// A model was asked into service, or out of it.
    pub fn ask(&mut self, model: &str, serve: bool) {
        self.asked.insert(model.to_owned(), serve);
    }

    /// Whether a request asked for a model that is loaded on demand.
    pub fn is_demanded(&self, model: &str) -> bool {
        self.demanded.contains(model)
    }

    /// A request asked for a model that is loaded on demand.
    pub fn demand(&mut self, model: &str) {
        self.demanded.insert(model.to_owned());
    }

    /// A model that is loaded on demand makes room until it is asked for again.
    pub fn put_by(&mut self, model: &str) {
        self.demanded.remove(model);
    }

    /// A list that was checked replaces all that was asked before.
    pub fn replace(&mut self, list: BTreeMap<String, ModelConfig>) {
        self.asked.clear();
        self.list = Some(list);
    }

    /// Forgets what was asked of models that left the repository. The list outlives them.
    pub fn keep_only(&mut self, found: &Found) {
        self.asked.retain(|model, _| found.contains_key(model));
        self.demanded.retain(|model| found.contains_key(model));
    }

    /// What `model.toml` says, with the list's versions and labels instead of its own.
    pub fn over(&self, model: &str, mut spec: ModelSpecFile) -> ModelSpecFile {
        if let Some(listed) = self.list.as_ref().and_then(|list| list.get(model)) {
            spec.labels.clone_from(&listed.labels);
            if let Some(versions) = &listed.versions {
                spec.versions.clone_from(versions);
            }
        }
        spec
    }
}

/// What a list is checked against.
pub struct Ground<'a> {
    /// Where relative paths start.
    pub cwd: &'a Path,
    /// The model repository.
    pub root: &'a Path,
    /// What is in it.
    pub found: &'a Found,
}

/// The list by name, or the first mistake in it. `policy` is what a model's `model.toml` says.
pub fn check(
    models: Vec<ModelConfig>,
    ground: &Ground,
    policy: impl Fn(&str) -> Result<VersionPolicy, String>,
) -> Result<BTreeMap<String, ModelConfig>, InferError> {
    let mut list = BTreeMap::new();
    for model in models {
        let name = &model.name;
        let wrong = |what: String| InferError::Invalid(format!("model {name}: {what}"));
        let dir = ground.root.join(name);
        let Some(on_disk) = ground.found.get(name) else {
            let dir = dir.display();
            return Err(wrong(format!("{dir} holds neither a version nor a model.toml")));
        };
        let place = |path: &Path| normal(&ground.cwd.join(path));
        if !model.base_path.is_empty() && place(Path::new(&model.base_path)) != place(&dir) {
            let (given, dir) = (&model.base_path, place(&dir));
            return Err(wrong(format!("base_path is {given}, must be {}", dir.display())));
        }
        let versions = model.versions.clone().map_or_else(|| policy(name), Ok).map_err(wrong)?;
        let mut wanted = versions.select(on_disk);
        wanted.extend(versions.missing(on_disk));
        if wanted.is_empty() {
            return Err(wrong(format!("no version is wanted; on disk: {}", numbers(on_disk))));
        }
        if let Some((label, version)) = model.labels.iter().find(|(_, v)| !wanted.contains(v)) {
            let wanted = numbers(&wanted);
            return Err(wrong(format!(
                "label {label} names version {version}, wanted are: {wanted}"
            )));
        }
        if list.contains_key(name) {
            return Err(wrong("is listed twice".to_owned()));
        }
        list.insert(name.clone(), model);
    }
    Ok(list)
}

/// Versions as a person reads them.
pub fn numbers(versions: &BTreeSet<u64>) -> String {
    let numbers: Vec<_> = versions.iter().map(u64::to_string).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") }
}

/// A path without `.` and `..`, as far as the text goes.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelConfig {
        ModelConfig { name: name.to_owned(), ..ModelConfig::default() }
    }

    fn found() -> Found {
        let model = |name: &str, versions: &[u64]| {
            (name.to_owned(), versions.iter().copied().collect::<BTreeSet<_>>())
        };
        [model("a", &[1, 2, 5]), model("b", &[1]), model("empty", &[])].into()
    }

    fn checked(models: Vec<ModelConfig>) -> Result<BTreeMap<String, ModelConfig>, InferError> {
        let found = found();
        let (cwd, root) = (Path::new("/srv"), Path::new("models"));
        let ground = Ground { cwd, root, found: &found };
        check(models, &ground, |name| match name {
            "b" => Err("b/model.toml:1: broken".to_owned()),
            _ => Ok(VersionPolicy::latest(2)),
        })
    }

    #[test]
    fn the_newest_of_load_unload_and_list_decides() {
        let mut orders = Orders::default();
        assert!(orders.serves("a"));
        orders.ask("a", false);
        assert!(!orders.serves("a") && orders.serves("b"));
        orders.ask("a", true);
        assert!(orders.serves("a"));
        orders.ask("b", false);
        orders.replace(BTreeMap::from([("b".to_owned(), model("b"))]));
        assert!(!orders.serves("a") && orders.serves("b") && !orders.serves("new"));
        orders.ask("a", true);
        orders.ask("b", false);
        assert!(orders.serves("a") && !orders.serves("b"));
        // Out of the repository, out of mind; but the list stands.
        orders.keep_only(&BTreeMap::new());
        assert!(!orders.serves("a") && orders.serves("b"));
    }

    #[test]
    fn a_list_overrides_versions_and_labels() {
        let file = "[versions]\nlatest = 2\n[labels]\nstable = 1";
        let file = ModelSpecFile::parse(file, Path::new("model.toml")).unwrap();
        let mut orders = Orders::default();
        let same = orders.over("a", file.clone());
        assert_eq!((&same.versions, &same.labels), (&file.versions, &file.labels));
        let labels = BTreeMap::from([("canary".to_owned(), 5)]);
        let mut listed = ModelConfig { labels: labels.clone(), ..model("a") };
        orders.replace(BTreeMap::from([("a".to_owned(), listed.clone())]));
        let over = orders.over("a", file.clone());
        assert_eq!((&over.versions, &over.labels), (&file.versions, &labels));
        listed.versions = Some(VersionPolicy::all());
        orders.replace(BTreeMap::from([("a".to_owned(), listed)]));
        assert_eq!(orders.over("a", file.clone()).versions, VersionPolicy::all());
        assert_eq!(orders.over("b", file.clone()).versions, file.versions);
    }

    #[test]
    fn base_path_is_the_repositorys_own_or_nothing() {
        for (path, fine) in [
            ("", true),
            ("models/a", true),
            ("./models//b/../a/", true),
            ("/srv/models/a", true),
            ("/srv/models", false),
            ("/models/a", false),
            ("models/b", false),
            ("s3://models/a", false),
        ] {
            let told = checked(vec![ModelConfig { base_path: path.to_owned(), ..model("a") }]);
            assert_eq!(told.is_ok(), fine, "{path}: {told:?}");
            if let Err(error) = told {
                assert!(error.to_string().contains("must be /srv/models/a"), "{error}");
            }
        }
    }

    #[test]
    fn a_list_with_a_mistake_is_refused_and_the_mistake_named() {
        let versions = |name: &str, versions: VersionPolicy, label: Option<u64>| {
            let labels = label.map(|v| ("stable".to_owned(), v)).into_iter().collect();
            ModelConfig { versions: Some(versions), labels, ..model(name) }
        };
        let specific = |v: &[u64]| VersionPolicy::specific(v.iter().copied().collect());
        let labelled = |v| ModelConfig { labels: [("stable".to_owned(), v)].into(), ..model("a") };
        let wrong: [(Vec<ModelConfig>, &str); 8] = [
            (vec![model("a"), model("c")], "model c: models/c holds neither"),
            (vec![model("a"), model("a")], "model a: is listed twice"),
            (vec![model("../a")], "model ../a: models/../a holds"),
            (vec![model("b")], "model b: b/model.toml:1: broken"),
            (vec![model("empty")], "no version is wanted; on disk: none"),
            (vec![versions("a", specific(&[]), None)], "no version is wanted; on disk: 1, 2, 5"),
            (vec![versions("a", specific(&[1]), Some(2))], "names version 2, wanted are: 1"),
            (vec![labelled(1)], "label stable names version 1, wanted are: 2, 5"),
        ];
        for (models, told) in wrong {
            let error = checked(models).unwrap_err();
            assert!(matches!(error, InferError::Invalid(_)));
            assert!(error.to_string().contains(told), "{error}");
        }
        let fine = vec![
            labelled(2),
            versions("b", VersionPolicy::all(), Some(1)),
            // Not on disk: told when the list is served, not that the list is wrong.
            versions("empty", specific(&[7]), Some(7)),
        ];
        assert_eq!(checked(fine).unwrap().len(), 3);
        assert!(checked(Vec::new()).unwrap().is_empty());
    }
}
