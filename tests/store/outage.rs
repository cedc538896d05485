//! A ConfigMap of documents, and an API that has its bad days.

use std::time::{Duration, Instant};

use ocelli::control::store::{Health, KubernetesStore, Pace, Store, StoreError};

use super::kubernetes::{PACE, open, set};
use super::{changed, document, last, wait, well, win};
use crate::support::kubernetes::{FakeKubernetes, Lost};

/// Waits until the API has had so many requests of a kind.
async fn until(fake: &FakeKubernetes, kind: &str, many: usize) {
    let started = Instant::now();
    while fake.requests(kind) < many {
        assert!(started.elapsed() < super::PATIENCE, "no {kind}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A change by another replica is heard of, and read.
async fn hears(store: &KubernetesStore, fake: &FakeKubernetes) {
    let mut watch = store.watch();
    watch.changes.mark_unchanged();
    let won = win(&open(fake), "m", "another").await;
    changed(&mut watch).await;
    assert_eq!(store.load().await.unwrap()["m"].last(), Some(&won));
}

#[tokio::test]
async fn is_down_at_the_start_and_for_a_while() {
    let fake = FakeKubernetes::start().await;
    fake.go_away().await;
    let store = open(&fake);
    let mut watch = store.watch();
    let health = wait(&mut watch, |h| h.error().is_some_and(|e| e.contains("refused"))).await;
    assert!(health.error().unwrap().starts_with("configmap ns/traffic: "), "{health:?}");
    let refused = store.load().await.unwrap_err();
    assert!(matches!(refused, StoreError::Unreachable { .. }), "{refused:?}");
    let refused = store.publish("m", document(1, "x")).await;
    assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
    fake.come_back().await;
    well(&mut watch).await;
    win(&store, "m", "x").await;
    hears(&store, &fake).await;

    fake.go_away().await;
    wait(&mut watch, |h| *h != Health::Ok).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(watch.health.borrow().error().is_some());
    fake.come_back().await;
    well(&mut watch).await;
    hears(&store, &fake).await;
}

#[tokio::test]
async fn what_happened_during_an_outage_is_heard_after_it() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    win(&store, "m", "x").await;
    hears(&store, &fake).await;
    fake.go_away().await;
    wait(&mut watch, |h| *h != Health::Ok).await;
    watch.changes.mark_unchanged();
    let text = fake.object("ns", "traffic").unwrap()["data"]["m"].as_str().unwrap().to_owned();
    set(&fake, "n", &text);
    fake.come_back().await;
    changed(&mut watch).await;
    well(&mut watch).await;
    assert_eq!(store.load().await.unwrap().len(), 2);
}

#[tokio::test]
async fn dropped_connections_are_taken_up_where_they_broke() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    until(&fake, "WATCH", 1).await;
    let mut watch = store.watch();
    well(&mut watch).await;
    for times in 1..=3 {
        fake.drop_connections().await;
        until(&fake, "WATCH", times + 1).await;
        hears_without_list(&store, &fake).await;
    }
    assert_eq!(fake.requests("LIST"), 1);
    assert_eq!(*watch.health.borrow(), Health::Ok);
}

/// As [`hears`], by an edit, so that no other replica asks for anything.
async fn hears_without_list(store: &KubernetesStore, fake: &FakeKubernetes) {
    let mut watch = store.watch();
    watch.changes.mark_unchanged();
    let next = last(&store.load().await.unwrap(), "m") + 1;
    let text = serde_json::to_string(&[document(next, "edit")]).unwrap();
    set(fake, "m", &text);
    changed(&mut watch).await;
    assert_eq!(last(&store.load().await.unwrap(), "m"), next);
}

#[tokio::test]
async fn a_forgotten_version_is_read_anew() {
    for as_event in [false, true] {
        let fake = FakeKubernetes::start().await;
        let store = open(&fake);
        until(&fake, "WATCH", 1).await;
        fake.forget(as_event);
        fake.drop_connections().await;
        // The one that is told that it is gone, and the one after reading.
        until(&fake, "WATCH", 3).await;
        assert_eq!(fake.requests("LIST"), 2);
        hears_without_list(&store, &fake).await;
        assert_eq!(*store.watch().health.borrow(), Health::Ok);
    }
}

#[tokio::test]
async fn a_bookmark_keeps_a_quiet_watch_from_being_forgotten() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    until(&fake, "WATCH", 1).await;
    fake.forget(true);
    fake.bookmark();
    tokio::time::sleep(Duration::from_millis(100)).await;
    fake.drop_connections().await;
    until(&fake, "WATCH 120", 1).await;
    hears_without_list(&store, &fake).await;
    assert_eq!(fake.requests("LIST"), 1);
}

#[tokio::test]
async fn errors_within_a_watch_lead_to_reading_anew() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    until(&fake, "WATCH", 1).await;
    well(&mut watch).await;
    for (times, code) in [(1, 410), (2, 500)] {
        fake.send_error(code);
        until(&fake, "LIST", times + 1).await;
        well(&mut watch).await;
        hears_without_list(&store, &fake).await;
    }
}

#[tokio::test]
async fn silence_is_noticed() {
    let fake = FakeKubernetes::start().await;
    let (watching, answer) = (Duration::from_secs(1), Duration::from_secs(1));
    let pace = Pace { watch: watching, answer, ..PACE };
    let store = KubernetesStore::new(fake.client(), "ns", "traffic", pace);
    let mut watch = store.watch();
    well(&mut watch).await;
    // A watch that ends in time and is taken up again is no reason to complain.
    until(&fake, "WATCH", 3).await;
    assert!(!watch.health.has_changed().unwrap());
    fake.set_silent(true);
    // First of the watch there is, then of the next.
    wait(&mut watch, |h| h.error().is_some_and(|e| e.contains("silence for 2s"))).await;
    wait(&mut watch, |h| h.error().is_some_and(|e| e.contains("no answer within 1s"))).await;
    let late = store.publish("m", document(1, "x")).await;
    assert!(matches!(late, Err(StoreError::Unreachable { .. })), "{late:?}");
    fake.set_silent(false);
    well(&mut watch).await;
    win(&store, "m", "x").await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_and_not_done_twice() {
    let fake = FakeKubernetes::start().await;
    // This one sends again by itself what timed out, and loses against itself.
    let client = kube::Client::try_from(fake.config()).unwrap();
    let hasty = KubernetesStore::new(client, "ns", "traffic", PACE);
    for store in [open(&fake), hasty] {
        for how in [Lost::Broken, Lost::TimedOut] {
            let next = last(&store.load().await.unwrap(), "m") + 1;
            fake.lose_next_answer(how);
            store.publish("m", document(next, "x")).await.unwrap();
        }
    }
    let history = open(&fake).load().await.unwrap().remove("m").unwrap();
    assert_eq!(history.iter().map(|d| d.revision).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn tls_needs_nothing_set_up() {
    let url = "https://127.0.0.1:1".parse().unwrap();
    let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
    let store = KubernetesStore::new(client, "ns", "traffic", PACE);
    let mut watch = store.watch();
    wait(&mut watch, |h| h.error().is_some_and(|e| e.contains("refused"))).await;
}

#[tokio::test]
async fn refusals_are_told() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    until(&fake, "WATCH", 1).await;
    well(&mut watch).await;
    fake.set_refusing(Some(403));
    let refused = store.load().await.unwrap_err().to_string();
    assert_eq!(refused, "configmap ns/traffic: told to refuse (403)");
    let late = store.publish("m", document(1, "x")).await;
    assert!(matches!(late, Err(StoreError::Unreachable { .. })), "{late:?}");
    fake.set_refusing(Some(503));
    fake.drop_connections().await;
    let told = "configmap ns/traffic: told to refuse (503)";
    wait(&mut watch, |h| h.error() == Some(told)).await;
    fake.set_refusing(None);
    well(&mut watch).await;
}
