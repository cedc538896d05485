//! A ConfigMap of documents, on a good day.

use std::time::Duration;

use ocelli::control::store::{Health, KubernetesStore, Pace, Store, StoreError};
use serde_json::{Value, json};

use super::{changed, document, last, wait, well, win};
use crate::support::kubernetes::FakeKubernetes;

pub const PACE: Pace = Pace {
    answer: Duration::from_secs(2),
    watch: Duration::from_secs(60),
    retry_from: Duration::from_millis(20),
    retry_to: Duration::from_millis(200),
};

pub fn open(fake: &FakeKubernetes) -> KubernetesStore {
    KubernetesStore::new(fake.client(), "ns", "traffic", PACE)
}

pub fn set(fake: &FakeKubernetes, key: &str, value: &str) {
    fake.edit("ns", "traffic", |object| {
        object.get_or_insert_with(|| json!({}))["data"][key] = json!(value);
    });
}

pub fn delete(fake: &FakeKubernetes) {
    fake.edit("ns", "traffic", |object| *object = None);
}

#[tokio::test]
async fn is_created_at_need_and_heard_by_others() {
    let fake = FakeKubernetes::start().await;
    let (here, there) = (open(&fake), open(&fake));
    let mut watch = there.watch();
    well(&mut watch).await;
    assert!(there.load().await.unwrap().is_empty() && fake.object("ns", "traffic").is_none());
    assert!(!watch.changes.has_changed().unwrap());
    let first = win(&here, "m/1", "x").await;
    changed(&mut watch).await;
    assert_eq!(there.load().await.unwrap()["m/1"], [first]);
    assert_eq!(win(&there, "m/1", "x").await.revision, 2);
    changed(&mut watch).await;
    let object = fake.object("ns", "traffic").unwrap();
    assert!(object["data"]["m.2F1"].as_str().unwrap().starts_with("[\n{\"revision\":1,"));
    assert_eq!((here.kind(), here.place().as_str()), ("kubernetes", "configmap ns/traffic"));
    assert_eq!((fake.requests("LIST"), fake.requests("WATCH")), (2, 2));
}

#[tokio::test]
async fn leaves_what_others_put_there() {
    let fake = FakeKubernetes::start().await;
    fake.edit("ns", "traffic", |object| {
        let metadata = json!({ "labels": { "team": "vision" }, "uid": "1-2-3" });
        *object = Some(json!({ "metadata": metadata, "data": { "ca.crt": "?" } }));
    });
    let store = open(&fake);
    win(&store, "m", "x").await;
    let object = fake.object("ns", "traffic").unwrap();
    assert_eq!(object["metadata"]["labels"]["team"], "vision");
    assert_eq!(object["data"]["ca.crt"], "?");
    assert_eq!(store.load().await.unwrap().len(), 1);
}

#[tokio::test]
async fn somebody_faster_is_a_conflict_and_another_model_is_none() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    win(&store, "m", "x").await;
    let late = store.publish("m", document(1, "y")).await.unwrap_err();
    let model = "m".to_owned();
    assert_eq!(late, StoreError::Conflict { model, expected: 2, found: 1 });
    // The other one writes between this one's reading and writing; see also `races`.
    let other = open(&fake);
    let (one, two) = (document(2, "x"), document(1, "x"));
    let (one, two) = tokio::join!(store.publish("m", one), other.publish("n", two));
    assert_eq!((one, two), (Ok(()), Ok(())));
}

#[tokio::test]
async fn what_people_break_is_told_of_and_left_to_them() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    win(&store, "m", "x").await;
    win(&store, "n", "x").await;
    well(&mut watch).await;
    let whole = fake.object("ns", "traffic").unwrap()["data"]["m"].clone();
    set(&fake, "m", "[{");
    let health = wait(&mut watch, |h| h.error().is_some_and(|e| e.contains("unreadable"))).await;
    assert!(health.error().unwrap().starts_with("m: unreadable"), "{health:?}");
    let loaded = store.load().await.unwrap();
    assert_eq!((last(&loaded, "m"), last(&loaded, "n")), (0, 1));
    let refused = store.publish("m", document(2, "x")).await;
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    store.publish("n", document(2, "x")).await.unwrap();
    set(&fake, "m", whole.as_str().unwrap());
    well(&mut watch).await;
    store.publish("m", document(2, "x")).await.unwrap();
}

#[tokio::test]
async fn a_deleted_one_is_missed_and_can_be_given_back() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    win(&store, "m", "x").await;
    win(&store, "m", "x").await;
    let history = store.load().await.unwrap().remove("m").unwrap();
    wait(&mut watch, |h| *h == Health::Ok).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    watch.changes.mark_unchanged();
    delete(&fake);
    changed(&mut watch).await;
    wait(&mut watch, |h| h.error() == Some("m: revision 2 is gone")).await;
    assert!(store.load().await.unwrap().is_empty());
    store.restore("m", history.clone()).await.unwrap();
    well(&mut watch).await;
    assert_eq!(store.load().await.unwrap()["m"], history);
    store.restore("m", vec![document(2, "another's"), document(5, "offered")]).await.unwrap();
    let now = store.load().await.unwrap().remove("m").unwrap();
    assert_eq!(now.iter().map(|d| d.revision).collect::<Vec<_>>(), [1, 2, 5]);
    assert_eq!(now[..2], history);
}

#[tokio::test]
async fn one_that_may_be_read_and_not_written_says_so_until_it_may() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut watch = store.watch();
    win(&store, "m", "x").await;
    well(&mut watch).await;
    fake.set_read_only(true);
    let refused = store.publish("m", document(2, "x")).await;
    assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
    let health = wait(&mut watch, |h| h.error().is_some()).await;
    assert!(health.error().unwrap().contains("can't be written"), "{health:?}");
    assert_eq!(store.load().await.unwrap()["m"].len(), 1);
    fake.set_read_only(false);
    // It finds out by itself, and without writing anything.
    let before = fake.object("ns", "traffic");
    well(&mut watch).await;
    assert_eq!(fake.object("ns", "traffic"), before);
}

#[tokio::test]
async fn grows_no_larger_than_kubernetes_takes() {
    let fake = FakeKubernetes::start().await;
    let store = open(&fake);
    let mut large = document(1, "x");
    for revision in 1..=12 {
        large.revision = revision;
        large.reason = "\"".repeat(60_000);
        store.publish("large", large.clone()).await.unwrap();
    }
    win(&store, "small", "x").await;
    let object = fake.object("ns", "traffic").unwrap();
    let data = object["data"].as_object().unwrap();
    let size: usize = data.values().map(|v| v.as_str().map_or(0, str::len)).sum();
    assert!((700_000..900_000).contains(&size), "{size}");
    assert_eq!(last(&store.load().await.unwrap(), "large"), 12);
    let (stored, long): (Value, _) = (object, "/".repeat(100));
    let refused = store.publish(&long, document(1, "x")).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(fake.object("ns", "traffic").unwrap(), stored);
}
