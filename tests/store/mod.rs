//! The stores of traffic documents, as their callers see them.

mod crash;
mod file;
mod kubernetes;
mod outage;
mod races;

use std::time::Duration;

use jiff::Timestamp;
use ocelli::control::document::{Arm, Document, TrafficSpec};
use ocelli::control::store::{Health, Histories, Store, StoreError, Watch};

pub fn document(revision: u64, author: &str) -> Document {
    Document {
        revision,
        author: author.to_owned(),
        reason: format!("for {author}"),
        created: Timestamp::now(),
        restores: None,
        traffic: TrafficSpec {
            arms: vec![Arm { version: 1, weight: 4_000 }, Arm { version: 2, weight: 6_000 }],
            ..TrafficSpec::default()
        },
        slots: None,
        rollout: None,
        bandit: None,
    }
}

pub fn last(histories: &Histories, model: &str) -> u64 {
    histories.get(model).and_then(|h| h.last()).map_or(0, |d| d.revision)
}

/// Publishes as a careful caller does, until it was the fastest.
pub async fn win(store: &dyn Store, model: &str, author: &str) -> Document {
    let mut expected = 0;
    loop {
        let next = last(&store.load().await.unwrap(), model) + 1;
        let wanted = document(next.max(expected), author);
        match store.publish(model, wanted.clone()).await {
            Ok(()) => return wanted,
            Err(StoreError::Conflict { expected: next, .. }) => expected = next,
            Err(e) => panic!("{e}"),
        }
    }
}

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the health is as `fits` wants.
pub async fn wait(watch: &mut Watch, fits: impl FnMut(&Health) -> bool) -> Health {
    let health = tokio::time::timeout(PATIENCE, watch.health.wait_for(fits)).await;
    health.unwrap().unwrap().clone()
}

pub async fn well(watch: &mut Watch) {
    wait(watch, |health| *health == Health::Ok).await;
}

pub async fn changed(watch: &mut Watch) {
    tokio::time::timeout(PATIENCE, watch.changes.changed()).await.unwrap().unwrap();
}
