//! A model's traffic as data: the table in force, those before it, and how one follows another.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use utoipa::ToSchema;

/// Weights by version. Only their ratios count.
pub type Weights = BTreeMap<u64, u32>;

/// Tables kept for going back.
const KEPT: usize = 32;

/// Who puts a table into force where nobody asked for a certain one.
const LATEST: &str = "latest";

/// What a model's traffic should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// All to the latest version that is selected and available.
    #[default]
    Latest,
    /// As weighed, whatever else becomes available.
    Weighted(Weights),
}

/// A table that is or was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Table {
    /// Counts the model's tables, from 1.
    pub revision: u64,
    /// Weights by version.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub weights: Weights,
    /// Whose doing it was: `model.toml`, `admin`, `latest`.
    pub author: String,
    /// Why.
    pub reason: String,
    /// The revision it brought back, if it was a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

/// Tables in the order they came into force, and what should hold now.
#[derive(Clone, Debug, Default)]
pub struct History {
    wanted: Traffic,
    author: String,
    reason: String,
    restores: Option<u64>,
    /// Among these is the latest.
    selected: BTreeSet<u64>,
    tables: Vec<Table>,
}

/// Why there is nothing to go back to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rollback {
    /// The table in force is the first.
    #[error("there is no earlier traffic table")]
    NoEarlier,
    /// Versions of the earlier table are no longer loaded.
    #[error("revision {revision} needs version {version}, which is not loaded")]
    NotLoaded {
        /// The earlier table.
        revision: u64,
        /// What it lacks.
        version: u64,
    },
}

impl History {
    /// Asks for `wanted`; [`History::settle`] brings it into force.
    pub fn want(&mut self, wanted: Traffic, author: &str, reason: &str) {
        self.wanted = wanted;
        author.clone_into(&mut self.author);
        reason.clone_into(&mut self.reason);
        self.restores = None;
    }

    /// Asks for the table before the one in force; going back again goes further back.
    pub fn want_back(&mut self, available: &BTreeSet<u64>, author: &str) -> Result<(), Rollback> {
        let current = self.tables.last().ok_or(Rollback::NoEarlier)?;
        let before = current.restores.unwrap_or(current.revision);
        let earlier = self
            .tables
            .iter()
            .rev()
            .find(|t| t.revision < before && t.restores.is_none())
            .ok_or(Rollback::NoEarlier)?;
        if let Some(version) = earlier.weights.keys().find(|v| !available.contains(v)) {
            return Err(Rollback::NotLoaded { revision: earlier.revision, version: *version });
        }
        let (revision, weights) = (earlier.revision, earlier.weights.clone());
        self.want(Traffic::Weighted(weights), author, &format!("rollback to revision {revision}"));
        self.restores = Some(revision);
        Ok(())
    }

    /// Says which versions the latest is sought among. One that is kept only to go back to must
    /// not win over an older one that is asked for.
    pub fn select(&mut self, versions: &BTreeSet<u64>) {
        self.selected.clone_from(versions);
    }

    /// The latest version that is selected and available. Until there is one, what was the latest
    /// before goes on, or else any.
    fn latest(&self, available: &BTreeSet<u64>) -> Option<u64> {
        let held = self.tables.last().filter(|t| t.author == LATEST);
        let held = held.and_then(|t| t.weights.keys().next_back());
        let selected = self.selected.intersection(available).last();
        let held = held.filter(|v| !self.selected.is_empty() && available.contains(v));
        selected.or(held).or(available.last()).copied()
    }

    /// The weights to serve by, given what is available, recorded if they are new. A wanted
    /// table takes effect only when all its versions are there; until then the one before it
    /// holds, and at the very start its available part.
    pub fn settle(&mut self, available: &BTreeSet<u64>) -> Option<Weights> {
        let there = |w: &Weights| w.keys().all(|v| available.contains(v));
        let part = |w: &Weights| -> Weights {
            w.iter().filter(|(v, _)| available.contains(v)).map(|(v, n)| (*v, *n)).collect()
        };
        let (weights, wanted) = match &self.wanted {
            Traffic::Latest => (Weights::from([(self.latest(available)?, 1)]), true),
            Traffic::Weighted(w) if there(w) => (w.clone(), true),
            Traffic::Weighted(w) => match self.tables.last() {
                Some(held) if there(&held.weights) => return Some(held.weights.clone()),
                Some(held) if !part(&held.weights).is_empty() => (part(&held.weights), false),
                _ => (part(w), false),
            },
        };
        if weights.values().all(|w| *w == 0) {
            return None;
        }
        let same = |t: &Table| t.weights == weights && (t.restores == self.restores || !wanted);
        if !self.tables.last().is_some_and(same) {
            self.record(weights.clone(), wanted);
        }
        Some(weights)
    }

    fn record(&mut self, weights: Weights, wanted: bool) {
        let (author, reason, restores) = if wanted && self.wanted != Traffic::Latest {
            (self.author.clone(), self.reason.clone(), self.restores)
        } else if wanted {
            let latest = weights.keys().next_back().copied().unwrap_or_default();
            (LATEST.to_owned(), format!("version {latest} became the latest available"), None)
        } else {
            ("availability".to_owned(), "a version of the table is not available".to_owned(), None)
        };
        let revision = self.tables.last().map_or(1, |t| t.revision + 1);
        self.tables.push(Table { revision, weights, author, reason, restores });
        if self.tables.len() > KEPT {
            self.tables.remove(0);
        }
    }

    /// Versions that must stay warm: of the table in force and the `keep` before it, and wanted.
    pub fn retained(&self, keep: usize) -> BTreeSet<u64> {
        let wanted = match &self.wanted {
            Traffic::Weighted(w) => w.keys().copied().collect(),
            Traffic::Latest => Vec::new(),
        };
        let recent = self.tables.iter().rev().take(keep + 1);
        recent.flat_map(|t| t.weights.keys().copied()).chain(wanted).collect()
    }

    /// Tables, the one in force last.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What was asked for.
    pub fn wanted(&self) -> &Traffic {
        &self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(versions: &[u64]) -> BTreeSet<u64> {
        versions.iter().copied().collect()
    }

    fn weigh(weights: &[(u64, u32)]) -> Weights {
        weights.iter().copied().collect()
    }

    #[test]
    fn follows_the_latest_until_told_otherwise() {
        let mut h = History::default();
        assert_eq!(h.settle(&set(&[])), None);
        assert_eq!(h.settle(&set(&[1])), Some(weigh(&[(1, 1)])));
        assert_eq!(h.settle(&set(&[1, 2])), Some(weigh(&[(2, 1)])));
        assert_eq!(h.settle(&set(&[1, 2])), Some(weigh(&[(2, 1)])));
        assert_eq!(h.tables().len(), 2);
        assert_eq!(h.retained(1), set(&[1, 2]));
        assert_eq!(h.retained(0), set(&[2]));
    }

    #[test]
    fn the_latest_is_one_of_the_selected() {
        let mut h = History::default();
        h.select(&set(&[2]));
        assert_eq!(h.settle(&set(&[1])), Some(weigh(&[(1, 1)])));
        assert_eq!(h.settle(&set(&[1, 2])), Some(weigh(&[(2, 1)])));
        // An older one is asked for, and 2 stays to be gone back to.
        h.select(&set(&[1]));
        assert_eq!(h.settle(&set(&[1, 2])), Some(weigh(&[(1, 1)])));
        // 2 is not what bridges the time until 3 is there.
        h.select(&set(&[3]));
        assert_eq!(h.settle(&set(&[1, 2])), Some(weigh(&[(1, 1)])));
        assert_eq!(h.settle(&set(&[2])), Some(weigh(&[(2, 1)])));
        assert_eq!(h.settle(&set(&[2, 3])), Some(weigh(&[(3, 1)])));
    }

    #[test]
    fn going_back_twice_goes_back_two_tables() {
        let mut h = History::default();
        let all = set(&[1, 2]);
        for w in [weigh(&[(1, 1)]), weigh(&[(1, 9), (2, 1)]), weigh(&[(2, 1)])] {
            h.want(Traffic::Weighted(w), "admin", "test");
            h.settle(&all);
        }
        h.want_back(&all, "admin").unwrap();
        assert_eq!(h.settle(&all), Some(weigh(&[(1, 9), (2, 1)])));
        h.want_back(&all, "admin").unwrap();
        assert_eq!(h.settle(&all), Some(weigh(&[(1, 1)])));
        assert_eq!(h.want_back(&all, "admin"), Err(Rollback::NoEarlier));
        assert_eq!(h.tables().last().unwrap().revision, 5);
    }

    #[test]
    fn a_table_waits_for_all_its_versions_and_the_one_before_holds() {
        let mut h = History::default();
        h.want(Traffic::Weighted(weigh(&[(1, 1)])), "model.toml", "");
        assert_eq!(h.settle(&set(&[1])), Some(weigh(&[(1, 1)])));
        h.want(Traffic::Weighted(weigh(&[(1, 1), (3, 1)])), "model.toml", "");
        assert_eq!(h.settle(&set(&[1])), Some(weigh(&[(1, 1)])));
        assert_eq!(h.settle(&set(&[1, 3])), Some(weigh(&[(1, 1), (3, 1)])));
        assert!(h.retained(0).contains(&3));
    }

    #[test]
    fn at_the_start_the_available_part_of_a_table_serves() {
        let mut h = History::default();
        h.want(Traffic::Weighted(weigh(&[(1, 9), (2, 1)])), "model.toml", "");
        assert_eq!(h.settle(&set(&[1])), Some(weigh(&[(1, 9)])));
        assert_eq!(h.settle(&set(&[])), None);
    }

    #[test]
    fn going_back_names_what_is_no_longer_loaded() {
        let mut h = History::default();
        h.settle(&set(&[1]));
        h.settle(&set(&[2]));
        let missing = Rollback::NotLoaded { revision: 1, version: 1 };
        assert_eq!(h.want_back(&set(&[2]), "admin"), Err(missing));
    }
}
