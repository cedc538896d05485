//! The task that watches the ConfigMap, through restarts of the API and whatever else happens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::time::{Instant, sleep, timeout};

use super::errors::{is_gone, told};
use super::{Map, Signals, map};
use crate::control::backoff::Backoff;

/// A watch that lasted this long is one that worked.
const WORKED: Duration = Duration::from_secs(1);

/// Watches for ever.
pub async fn follow(map: Map, signals: Arc<Signals>) {
    tokio::join!(keep_watching(map.clone(), Arc::clone(&signals)), keep_trying(map, signals));
}

/// After a write that was refused, finds out when the next one would not be.
async fn keep_trying(map: Map, signals: Arc<Signals>) {
    loop {
        sleep(map.pace.retry_to).await;
        if signals.is_refused() && map.try_out().await {
            signals.wrote(&Ok(()));
        }
    }
}

async fn keep_watching(map: Map, signals: Arc<Signals>) {
    let mut backoff = Backoff::new(map.pace.retry_from, map.pace.retry_to);
    let mut follower = Follower { map, signals, seen: None, from: None };
    loop {
        let started = Instant::now();
        match follower.watch_once().await {
            // Watches end all the time, and that alone is nothing to worry about.
            Ok(()) => tracing::debug!(place = follower.map.place(), "watching anew"),
            Err(error) => follower.signals.away(format!("{}: {error}", follower.map.place())),
        }
        if started.elapsed() >= WORKED {
            backoff.reset();
        }
        sleep(backoff.next()).await;
    }
}

struct Follower {
    map: Map,
    signals: Arc<Signals>,
    /// What was in it last.
    seen: Option<map::Data>,
    /// The version to watch from; none before it is read, or when the API has forgotten it.
    from: Option<String>,
}

impl Follower {
    /// Reads it if need be, and watches it until that ends. An error is one that people should
    /// know of.
    async fn watch_once(&mut self) -> Result<(), String> {
        let only = format!("metadata.name={}", self.map.name);
        let answer = self.map.pace.answer;
        let from = match self.from.take() {
            Some(version) => version,
            None => {
                let what = ListParams::default().fields(&only);
                let list = timeout(answer, self.map.api.list(&what)).await;
                let list = list.map_err(|_| self.map.late())?.map_err(|e| told(&e))?;
                self.read(list.items.into_iter().next());
                list.metadata.resource_version.unwrap_or_default()
            }
        };
        let seconds = u32::try_from(self.map.pace.watch.as_secs()).unwrap_or(u32::MAX).max(1);
        let what = WatchParams::default().fields(&only).timeout(seconds);
        let stream = match timeout(answer, self.map.api.watch(&what, &from)).await {
            Ok(Err(e)) if is_gone(&e) => return Ok(()),
            stream => {
                self.from = Some(from);
                stream.map_err(|_| self.map.late())?.map_err(|e| told(&e))?
            }
        };
        self.signals.back();
        let mut stream = std::pin::pin!(stream);
        // The API ends it before that. If it does not, nobody is there any more.
        let patience = self.map.pace.watch + answer;
        loop {
            match timeout(patience, stream.try_next()).await {
                Err(_) => return Err(format!("silence for {patience:?}")),
                // If it was cut, the next one will tell why.
                Ok(Ok(None) | Err(_)) => return Ok(()),
                Ok(Ok(Some(event))) => {
                    if !self.hear(event)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes an event in; whether the watch goes on.
    fn hear(&mut self, event: WatchEvent<ConfigMap>) -> Result<bool, String> {
        match event {
            WatchEvent::Added(map) | WatchEvent::Modified(map) => {
                self.from.clone_from(&map.metadata.resource_version);
                self.read(Some(map));
            }
            WatchEvent::Deleted(map) => {
                self.from = map.metadata.resource_version;
                self.read(None);
            }
            WatchEvent::Bookmark(mark) => self.from = Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => {
                self.from = None;
                return match status.code {
                    410 => Ok(false),
                    code => Err(format!("{} ({code})", status.message)),
                };
            }
        }
        Ok(true)
    }

    fn read(&mut self, found: Option<ConfigMap>) {
        let data = found.and_then(|map| map.data).unwrap_or_default();
        let map::Contents { last, troubles, .. } = map::read(&data);
        self.signals.read(&last, troubles);
        // That it is empty at first is no news.
        if self.seen.as_ref().unwrap_or(&map::Data::new()) != &data {
            self.signals.changed();
        }
        self.seen = Some(data);
    }
}
