//! A model's documents, what holds where there is none, and what of it can be served now. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, TrafficSpec};
use crate::router::{Plan, Slots, normalise};

/// Documents that are kept for going back.
pub const KEPT: usize = 32;

/// What a model's traffic is by its files, where no document says else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// All to the latest version that is selected and available.
    #[default]
    Latest,
    /// As `model.toml` weighs.
    Weighted(BTreeMap<u64, u32>),
}

/// Documents in the order they came, and what is beneath them.
#[derive(Clone, Debug, Default)]
pub struct History {
    documents: Vec<Document>,
    base: Traffic,
    /// Among these is the latest.
    selected: BTreeSet<u64>,
    /// Versions that were the latest one after the other, the newest last.
    latest: Vec<u64>,
    /// What was served last, to go on with while a version is waited for.
    held: Option<Plan>,
}

/// Where a rollback would lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Earlier {
    /// The document that is brought back, if it is one.
    pub revision: Option<u64>,
    /// What it says.
    pub traffic: TrafficSpec,
    /// Whose its slots were.
    pub slots: Option<Slots>,
}

/// Why there is nothing to go back to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rollback {
    /// What is in force is the first.
    #[error("there is no earlier traffic to go back to")]
    NoEarlier,
    /// No such document is kept.
    #[error("revision {0} is not in the history")]
    Unknown(u64),
}

impl History {
    /// What holds where no document does.
    pub fn set_base(&mut self, base: Traffic) {
        self.base = base;
    }

    /// Takes over documents that are not here yet, and says whether one is newer than all that were: an
    /// older one, which an offer overtook, only fills its gap, to be gone back to.
    pub fn adopt(&mut self, documents: impl IntoIterator<Item = Document>) -> bool {
        merge(&mut self.documents, documents)
    }

    /// Says which versions the latest is sought among. One that is kept only to go back to must
    /// not win over an older one that is asked for.
    pub fn select(&mut self, versions: &BTreeSet<u64>) {
        self.selected.clone_from(versions);
    }

    /// Of the newest document; 0 without one.
    pub fn revision(&self) -> u64 {
        self.documents.last().map_or(0, |d| d.revision)
    }

    /// Documents, the newest last.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// What should be in force, if a document says it.
    pub fn current(&self) -> Option<&Document> {
        self.documents.last()
    }

    /// Whether the latest version gets everything, as it comes.
    pub fn follows_latest(&self) -> bool {
        match self.current() {
            Some(document) => document.traffic.arms.is_empty(),
            None => self.base == Traffic::Latest,
        }
    }

    /// What is served now.
    pub fn held(&self) -> Option<&Plan> {
        self.held.as_ref()
    }

    /// What a rollback brings back: what was in force before the document that is. Going back again
    /// goes further back; a rollout is gone back from as a whole.
    pub fn earlier(&self) -> Result<Earlier, Rollback> {
        let before_latest = || {
            let version = self.latest.iter().rev().nth(1).ok_or(Rollback::NoEarlier)?;
            Ok(Earlier { revision: None, traffic: only(*version), slots: None })
        };
        let Some(current) = self.current() else {
            return if self.base == Traffic::Latest {
                before_latest()
            } else {
                Err(Rollback::NoEarlier)
            };
        };
        let before = current.restores.unwrap_or(current.revision);
        let rollout = current.rollout.as_ref();
        let earlier = self.documents.iter().rev().find(|d| {
            let same = d.rollout.as_ref().map(|r| &r.id) == rollout.map(|r| &r.id);
            // Going back again passes over what going back made; else what was in force is it.
            let passed = current.restores.is_some() && d.restores.is_some();
            d.revision < before && !passed && !(rollout.is_some() && same)
        });
        match (earlier, rollout) {
            (Some(earlier), _) => Ok(Earlier::of(earlier)),
            (None, Some(rollout)) => {
                Ok(Earlier { revision: None, traffic: only(rollout.from), slots: None })
            }
            // The first document is gone back from to what the files said.
            (None, None) if current.restores.is_none() && !current.traffic.arms.is_empty() => {
                let traffic = match (&self.base, self.latest.last()) {
                    (Traffic::Weighted(weights), _) => TrafficSpec::weighed(weights),
                    (Traffic::Latest, Some(version)) => only(*version),
                    (Traffic::Latest, None) => return Err(Rollback::NoEarlier),
                };
                Ok(Earlier { revision: None, traffic, slots: None })
            }
            (None, None) => Err(Rollback::NoEarlier),
        }
    }

    /// A certain document, to be brought back.
    pub fn at(&self, revision: u64) -> Result<Earlier, Rollback> {
        let found = self.documents.iter().find(|d| d.revision == revision);
        found.map(Earlier::of).ok_or(Rollback::Unknown(revision))
    }

    /// The slots of a new document with these arms, as near to what is served as can be.
    pub fn slots(&self, traffic: &TrafficSpec) -> Option<Slots> {
        Slots::new(&traffic.weights(), self.held.as_ref().map(|p| &p.slots)).ok()
    }

    /// What to serve by, given what is available. A document takes effect when all its arms are
    /// there; until then what was served goes on, and at the very start the part that is there.
    pub fn settle(&mut self, model: &str, available: &BTreeSet<u64>) -> Option<Plan> {
        let latest = self.newest(available);
        if let Some(latest) = latest.filter(|v| self.latest.last() != Some(v)) {
            self.latest.push(latest);
            let surplus = self.latest.len().saturating_sub(KEPT);
            self.latest.drain(..surplus);
        }
        let (spec, revision, slots) = match (self.current(), &self.base) {
            (Some(document), _) if !document.traffic.arms.is_empty() => {
                let slots = document.slots.clone();
                let slots = slots.or_else(|| Slots::new(&document.traffic.weights(), None).ok());
                (document.traffic.clone(), document.revision, slots)
            }
            (None, Traffic::Weighted(weights)) => {
                let spec = TrafficSpec::weighed(weights);
                let slots = self.slots(&spec);
                (spec, 0, slots)
            }
            (document, _) => {
                let spec = document.map(|d| d.traffic.clone()).unwrap_or_default();
                (spec, self.revision(), latest.map(Slots::all))
            }
        };
        let gone = |version: u64| !available.contains(&version);
        let whole = |slots: &Slots| slots.weights().keys().all(|v| available.contains(v));
        let held = self.held.as_ref().map(|p| &p.slots);
        let slots = match (slots, held) {
            (Some(slots), _) if whole(&slots) => Some(slots),
            (_, Some(held)) if whole(held) => return self.held.clone(),
            (slots, held) => {
                let part = held.and_then(|h| h.without(gone));
                part.or_else(|| slots.and_then(|s| s.without(gone)))
            }
        };
        self.held = slots.map(|slots| spec.plan(model, revision, slots, available));
        self.held.clone()
    }

    /// The latest version that is selected and available. Until there is one, what was the latest
    /// before goes on, or else any.
    fn newest(&self, available: &BTreeSet<u64>) -> Option<u64> {
        let selected = self.selected.intersection(available).last();
        let before = self.latest.last();
        let before = before.filter(|v| !self.selected.is_empty() && available.contains(v));
        selected.or(before).or(available.last()).copied()
    }

    /// Versions that must be there: what the document in force, or else the files, name.
    pub fn needed(&self) -> BTreeSet<u64> {
        let held = self.held.iter().flat_map(|p| p.slots.weights().into_keys());
        let wanted = match (self.current(), &self.base) {
            (Some(document), _) => document.traffic.versions(),
            (None, Traffic::Weighted(weights)) => weights.keys().copied().collect(),
            (None, Traffic::Latest) => BTreeSet::new(),
        };
        held.chain(wanted).collect()
    }

    /// Versions that going back up to `keep` times would need, the likeliest first.
    pub fn retained(&self, keep: usize) -> Vec<u64> {
        let documents = self.documents.iter().rev().skip(1).take(keep);
        let documents = documents.flat_map(|d| d.traffic.arms.iter().map(|a| a.version));
        let rollout = self.current().and_then(|d| d.rollout.as_ref()).map(|r| r.from);
        let latest = self.latest.iter().rev().take(keep + 1).copied();
        let mut seen = BTreeSet::new();
        let all = rollout.into_iter().chain(documents).chain(latest);
        all.filter(|v| seen.insert(*v)).collect()
    }
}

impl Earlier {
    fn of(document: &Document) -> Earlier {
        Earlier {
            revision: Some(document.revision),
            traffic: document.traffic.clone(),
            slots: document.slots.clone(),
        }
    }
}

/// Adds documents that are not among `known`, which stay in order. Says whether one is newer than all.
pub fn merge(known: &mut Vec<Document>, documents: impl IntoIterator<Item = Document>) -> bool {
    let newest = |known: &[Document]| known.last().map_or(0, |d| d.revision);
    let before = newest(known);
    for document in documents {
        if let Err(place) = known.binary_search_by_key(&document.revision, |d| d.revision) {
            known.insert(place, document);
        }
    }
    known.drain(..known.len().saturating_sub(KEPT));
    newest(known) != before
}

/// All to one version.
pub fn only(version: u64) -> TrafficSpec {
    TrafficSpec::weighed(&normalise(&[(version, 1)]).unwrap_or_default())
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
