//! What can happen to a directory of documents.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli::control::store::{FileStore, Health, KEPT, Store, StoreError};

use super::{changed, document, last, wait, well, win};

fn file(root: &Path, revision: u64) -> PathBuf {
    root.join("m").join(format!("{revision:020}.json"))
}

#[tokio::test]
async fn a_torn_newest_file_is_told_of_and_the_one_before_holds() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    for _ in 0..3 {
        win(&store, "m", "x").await;
    }
    let mut watch = store.watch();
    let whole = fs::read(file(root.path(), 3)).unwrap();
    fs::write(file(root.path(), 3), &whole[..whole.len() / 2]).unwrap();
    let health = wait(&mut watch, |health| *health != Health::Ok).await;
    assert!(health.error().unwrap().starts_with("m: revision 3 is unreadable"), "{health:?}");
    assert_eq!(last(&store.load().await.unwrap(), "m"), 2);
    // Its number is taken.
    let refused = store.publish("m", document(3, "x")).await.unwrap_err();
    let model = "m".to_owned();
    assert_eq!(refused, StoreError::Conflict { model, expected: 4, found: 3 });
    assert_eq!(win(&store, "m", "x").await.revision, 4);
    well(&mut watch).await;
    let revisions: Vec<_> = store.load().await.unwrap()["m"].iter().map(|d| d.revision).collect();
    assert_eq!(revisions, [1, 2, 4]);
}

#[tokio::test]
async fn other_files_are_no_documents() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    win(&store, "m", "x").await;
    for other in ["readme.txt", "m/7.json", "m/.tmp-1", ".tmp-2", "m/00000000000000000009.json~"] {
        fs::write(root.path().join(other), "?").unwrap();
    }
    fs::create_dir(root.path().join("lost+found")).unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.len(), last(&loaded, "m")), (1, 1));
    assert_eq!(store.watch().health.borrow().error(), None);
}

#[tokio::test]
async fn old_documents_are_pruned_and_their_names_are_not_free() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    for _ in 0..KEPT + 8 {
        win(&store, "v1.5/ä", "x").await;
    }
    let dir = root.path().join("v1.5%2F%C3%A4");
    assert_eq!(fs::read_dir(dir).unwrap().count(), KEPT);
    let refused = store.publish("v1.5/ä", document(3, "x")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { expected: 41, found: 3, .. })));
    assert_eq!(store.load().await.unwrap()["v1.5/ä"][0].revision, 9);
}

#[tokio::test]
async fn another_store_hears_of_it_at_once() {
    let root = tempfile::tempdir().unwrap();
    let (here, there) =
        (FileStore::open(root.path()).unwrap(), FileStore::open(root.path()).unwrap());
    let mut watch = there.watch();
    let mut slowest = Duration::ZERO;
    for revision in 1..=20 {
        watch.changes.mark_unchanged();
        let model = format!("m{}", revision % 5);
        let wanted = document(1 + (revision - 1) / 5, "x");
        here.publish(&model, wanted).await.unwrap();
        let published = Instant::now();
        changed(&mut watch).await;
        slowest = slowest.max(published.elapsed());
    }
    println!("heard within {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test]
async fn the_directory_may_come_late_and_go_and_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("not/yet");
    let store = FileStore::open(&root).unwrap();
    let mut watch = store.watch();
    assert!(store.load().await.unwrap().is_empty());
    assert_eq!(*watch.health.borrow(), Health::Ok);
    let other = FileStore::open(&root).unwrap();
    win(&other, "m", "x").await;
    let history = vec![win(&other, "m", "x").await];
    changed(&mut watch).await;
    assert_eq!(last(&store.load().await.unwrap(), "m"), 2);

    fs::remove_dir_all(&root).unwrap();
    let health = wait(&mut watch, |health| *health != Health::Ok).await;
    assert_eq!(health.error(), Some("m: revision 2 is gone"));
    assert!(store.load().await.unwrap().is_empty());

    // One of those who still know brings it back, and the others see that they need not.
    store.restore("m", history.clone()).await.unwrap();
    other.restore("m", vec![document(2, "another's")]).await.unwrap();
    well(&mut watch).await;
    assert_eq!(other.load().await.unwrap()["m"], history);
    assert_eq!(win(&other, "m", "x").await.revision, 3);
    watch.changes.mark_unchanged();
    win(&other, "m", "x").await;
    changed(&mut watch).await;
}

#[tokio::test]
async fn one_that_was_set_back_or_passed_over_is_given_what_is_above_it() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    for _ in 0..3 {
        win(&store, "m", "x").await;
    }
    let mut history = store.load().await.unwrap().remove("m").unwrap();
    for revision in [2, 3] {
        fs::remove_file(root.path().join(format!("m/{revision:020}.json"))).unwrap();
    }
    // Revision 7 was offered to the one who knows it.
    history.push(document(7, "offered"));
    store.restore("m", history.clone()).await.unwrap();
    assert_eq!(store.load().await.unwrap()["m"], history);
    let behind = store.publish("m", document(4, "late")).await;
    assert!(
        matches!(behind, Err(StoreError::Conflict { expected: 8, found: 4, .. })),
        "{behind:?}"
    );
    assert_eq!(win(&store, "m", "x").await.revision, 8);
}

#[tokio::test]
async fn what_is_no_directory_is_told_of_until_it_is_one() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("store");
    fs::write(&root, "").unwrap();
    let store = FileStore::open(&root).unwrap();
    let mut watch = store.watch();
    assert!(watch.health.borrow().error().unwrap().contains("Not a directory"));
    assert!(matches!(store.load().await, Err(StoreError::Unreachable { .. })));
    let refused = store.publish("m", document(1, "x")).await;
    assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
    fs::remove_file(&root).unwrap();
    well(&mut watch).await;
    store.publish("m", document(1, "x")).await.unwrap();
}

#[tokio::test]
async fn nonsense_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = FileStore::open(root.path()).unwrap();
    for (model, revision) in [("", 1), ("m", 0), (&*"ä".repeat(100), 1)] {
        let refused = store.publish(model, document(revision, "x")).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    for history in [vec![], vec![document(2, "x"), document(2, "x")]] {
        let refused = store.restore("m", history).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
}

/// Run by hand: what publishing costs here.
#[tokio::test]
#[ignore = "measures"]
async fn cost() {
    let root = tempfile::tempdir_in(".").unwrap();
    let store = FileStore::open(root.path()).unwrap();
    let mut took = Vec::new();
    for revision in 1..=500 {
        let wanted = document(revision, "x");
        let started = Instant::now();
        store.publish("m", wanted).await.unwrap();
        took.push(started.elapsed());
    }
    took.sort_unstable();
    println!("publish: median {:?}, p99 {:?}", took[250], took[495]);
    for model in 0..100 {
        let name = format!("model-{model}");
        for revision in 1..=32 {
            store.publish(&name, document(revision, "x")).await.unwrap();
        }
    }
    for _ in 0..3 {
        let started = Instant::now();
        let loaded = store.load().await.unwrap();
        println!("load of {} models: {:?}", loaded.len(), started.elapsed());
    }
}
