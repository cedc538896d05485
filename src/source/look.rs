//! One look at the source, and what comes of it: fetch what is not here, publish each model as soon as
//! its files are, take away what is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::{StreamExt, stream};

use super::cache::Cache;
use super::error::SourceError;
use super::fetch::{Bounds, Came, fetch};
use super::index::Index;
use super::key::Key;
use super::listing::{Listed, Listing, Reader};
use super::plan::{self, Wanted};
use super::retry::Retries;
use super::standing::Failing;
use crate::digest::Digest;
use crate::telemetry::source::SourceMetrics;

/// Objects that come at once, so that not all wait for one that stalls.
const AT_ONCE: usize = 4;

/// What looks go by.
pub struct Looks {
    pub reader: Reader,
    pub cache: Cache,
    pub bounds: Bounds,
    /// Versions of a model that are mirrored, the newest; 0: all.
    pub newest: usize,
    pub metrics: SourceMetrics,
    pub notes: Notes,
}

/// What one look leaves for the next.
pub struct Notes {
    index: Index,
    retries: Retries,
    /// What could not be had when it was tried last.
    failing: BTreeMap<Key, Failing>,
}

/// What a good look found.
pub struct Looked {
    /// Models that are mirrored now.
    pub models: usize,
    /// Whether the source has something that is not here.
    pub lacking: bool,
}

/// The files of a model, and how many of them are under way.
#[derive(Default)]
struct Model {
    wanted: Wanted,
    under_way: usize,
}

impl Looks {
    /// Looks once. `changed` is called after each change of what is mirrored.
    pub async fn look(&mut self, changed: &dyn Fn()) -> Result<Looked, SourceError> {
        let listing = narrow(self.reader.read().await?, self.newest);
        self.notes.keep_only(&listing);
        let mut models: BTreeMap<&str, Model> = BTreeMap::new();
        let mut missing = Vec::new();
        let now = Instant::now();
        for (key, listed) in &listing {
            let model = models.entry(key.model()).or_default();
            let known = listed.expected.digest.or_else(|| self.notes.index.digest(key, &listed.is));
            let here = known.filter(|digest| self.cache.holds(digest));
            if here.is_none() && self.notes.retries.is_due(key, &listed.is, now) {
                model.under_way += 1;
                missing.push((key, listed));
            }
            model.wanted.insert(key.file().to_owned(), here);
        }
        for (name, model) in models.iter().filter(|(_, model)| model.under_way == 0) {
            self.publish(name, &model.wanted, changed)?;
        }
        let (cache, bounds) = (&self.cache, self.bounds);
        let fetches = missing
            .into_iter()
            .map(async |(key, listed)| (key, listed, fetch_new(listed, bounds, cache).await));
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_ONCE);
        while let Some((key, listed, came)) = fetches.next().await {
            let here = self.notes.take(key, listed, came, &self.metrics);
            let Some(model) = models.get_mut(key.model()) else { continue };
            model.wanted.insert(key.file().to_owned(), here);
            model.under_way -= 1;
            if model.under_way == 0 {
                self.cache.keep_index(&self.notes.index)?;
                self.publish(key.model(), &model.wanted, changed)?;
            }
        }
        drop(fetches);
        self.remove_gone(&models, changed)?;
        let here = models.values().flat_map(|model| model.wanted.values());
        self.cache.collect(&here.clone().flatten().copied().collect())?;
        Ok(Looked { models: self.cache.trees()?.len(), lacking: here.clone().any(Option::is_none) })
    }

    fn publish(&self, model: &str, wanted: &Wanted, changed: &dyn Fn()) -> Result<(), SourceError> {
        let now = self.cache.tree(model)?;
        let Some(next) = plan::next_tree(now.as_ref(), wanted) else { return Ok(()) };
        self.cache.publish(model, &next)?;
        tracing::info!(model, files = next.len(), "mirrored");
        changed();
        Ok(())
    }

    fn remove_gone(
        &self,
        models: &BTreeMap<&str, Model>,
        changed: &dyn Fn(),
    ) -> Result<(), SourceError> {
        for model in self.cache.trees()?.into_keys().filter(|m| !models.contains_key(m.as_str())) {
            tracing::info!(model, "left the source");
            self.cache.remove(&model)?;
            changed();
        }
        Ok(())
    }

    /// What can't be had of the source.
    pub fn failing(&self) -> Vec<Failing> {
        self.notes.failing.values().cloned().collect()
    }

    /// When something that failed is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.notes.retries.next_due()
    }
}

impl Notes {
    pub fn new(index: Index) -> Notes {
        Notes { index, retries: Retries::default(), failing: BTreeMap::new() }
    }

    /// Forgets what the source has no longer.
    fn keep_only(&mut self, listing: &Listing) {
        let keys: BTreeSet<Key> = listing.keys().cloned().collect();
        self.index.keep_only(&keys);
        self.retries.keep_only(&keys);
        self.failing.retain(|key, _| keys.contains(key));
    }

    /// Takes down how a fetch went, and gives the digest if it went well.
    fn take(
        &mut self,
        key: &Key,
        listed: &Listed,
        came: Result<Came, SourceError>,
        metrics: &SourceMetrics,
    ) -> Option<Digest> {
        let (model, object) = (key.model(), &listed.object.name);
        match came {
            Ok(Came { digest, bytes }) => {
                tracing::info!(model, object, bytes, %digest, "fetched");
                metrics.fetched(bytes);
                if listed.expected.digest.is_none() {
                    self.index.insert(key, &listed.is, digest);
                }
                self.retries.came(key);
                self.failing.remove(key);
                Some(digest)
            }
            Err(error) => {
                let reason = error.reason();
                tracing::error!(model, object, reason, %error, "can't be fetched: what is here stays");
                metrics.failed(reason);
                self.retries.failed(key, &listed.is, Instant::now());
                self.failing.insert(key.clone(), Failing::new(key, &error));
                None
            }
        }
    }
}

/// The same bytes may have come meanwhile, as another file.
async fn fetch_new(listed: &Listed, bounds: Bounds, cache: &Cache) -> Result<Came, SourceError> {
    match listed.expected.digest.filter(|digest| cache.holds(digest)) {
        Some(digest) => Ok(Came { digest, bytes: 0 }),
        None => fetch(&listed.object, &listed.expected, bounds, cache).await,
    }
}

/// Leaves out old versions.
fn narrow(listing: Listing, newest: usize) -> Listing {
    let mut models: BTreeMap<String, BTreeMap<String, (Key, Listed)>> = BTreeMap::new();
    for (key, listed) in listing {
        let model = models.entry(key.model().to_owned()).or_default();
        model.insert(key.file().to_owned(), (key, listed));
    }
    models.values_mut().for_each(|files| plan::keep_newest(files, newest));
    models.into_values().flat_map(BTreeMap::into_values).collect()
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
