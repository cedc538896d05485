//! Several publishers at once.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelli::control::document::Document;
use ocelli::control::store::{FileStore, KubernetesStore, MemoryStore, Pace, Store, StoreError};
use proptest::prelude::*;

use super::{document, last, win};
use crate::support::kubernetes::FakeKubernetes;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// What one publisher does next, having seen what it last loaded.
#[derive(Clone, Debug)]
enum Step {
    Load,
    Publish,
    PublishAhead,
}

/// Who does what to which model, in order.
fn schedule() -> impl Strategy<Value = Vec<(usize, Step, usize)>> {
    let step =
        prop_oneof![2 => Just(Step::Load), 4 => Just(Step::Publish), 1 => Just(Step::PublishAhead)];
    prop::collection::vec((0..3_usize, step, 0..2_usize), 1..80)
}

/// Runs a schedule on one directory, or whatever else the stores share; gives what each step led to.
async fn play(
    stores: &[&dyn Store],
    schedule: &[(usize, Step, usize)],
) -> Vec<Result<(), StoreError>> {
    let mut seen = vec![BTreeMap::<String, u64>::new(); 3];
    let mut results = Vec::new();
    for (i, (who, step, model)) in schedule.iter().enumerate() {
        let (store, model) = (stores[who % stores.len()], ["m/1", "n"][*model]);
        let known = seen[*who].get(model).copied().unwrap_or_default();
        let revision = match step {
            Step::Load => {
                let histories = store.load().await.unwrap();
                seen[*who] = histories.keys().map(|m| (m.clone(), last(&histories, m))).collect();
                continue;
            }
            Step::Publish => known + 1,
            Step::PublishAhead => known + 2,
        };
        let mut wanted = document(revision, &format!("{who} in step {i}"));
        wanted.created = jiff::Timestamp::UNIX_EPOCH;
        let result = store.publish(model, wanted).await;
        if result.is_ok() {
            seen[*who].insert(model.to_owned(), revision);
        }
        results.push(result);
    }
    results
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_stores_do_as_the_simplest_in_any_interleaving(schedule in schedule()) {
        let outcome = runtime().block_on(async {
            let memory = MemoryStore::new();
            let expected = play(&[&memory], &schedule).await;
            let root = tempfile::tempdir().unwrap();
            let open = || FileStore::open(root.path()).unwrap();
            let (one, two, three) = (open(), open(), open());
            let files = play(&[&one, &two, &three], &schedule).await;
            let fake = FakeKubernetes::start().await;
            let open = || KubernetesStore::new(fake.client(), "ns", "traffic", Pace::default());
            let (a, b) = (open(), open());
            let maps = play(&[&a, &b], &schedule).await;
            let loaded = [memory.load().await, one.load().await, a.load().await];
            (expected, files, maps, loaded.map(Result::unwrap))
        });
        let (expected, files, maps, [loaded, from_files, from_maps]) = outcome;
        prop_assert_eq!(&expected, &files);
        prop_assert_eq!(&expected, &maps);
        prop_assert_eq!(&loaded, &from_files);
        prop_assert_eq!(&loaded, &from_maps);
    }

    #[test]
    fn publishers_at_once_lose_nothing(
        pauses in prop::collection::vec(prop::collection::vec(0..400_u64, 1..8), 2..5)
    ) {
        let root = tempfile::tempdir().unwrap();
        let (won, loaded) = runtime().block_on(async {
            let publishers = pauses.into_iter().enumerate().map(|(who, pauses)| {
                let store = FileStore::open(root.path()).unwrap();
                tokio::spawn(async move {
                    let mut won = Vec::new();
                    for pause in pauses {
                        tokio::time::sleep(Duration::from_micros(pause)).await;
                        won.push(win(&store, "m", &format!("publisher {who}")).await);
                    }
                    won
                })
            });
            let mut won = Vec::<Document>::new();
            for publisher in publishers.collect::<Vec<_>>() {
                won.extend(publisher.await.unwrap());
            }
            (won, FileStore::open(root.path()).unwrap().load().await.unwrap())
        });
        let mut won = won;
        won.sort_by_key(|d| d.revision);
        let revisions: Vec<_> = won.iter().map(|d| d.revision).collect();
        prop_assert_eq!(revisions, (1..=won.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!(&loaded["m"], &won);
    }
}

#[test]
fn replicas_at_once_on_one_configmap_lose_nothing() {
    runtime().block_on(async {
        let fake = FakeKubernetes::start().await;
        let replicas = (0..4).map(|who| {
            let store = KubernetesStore::new(fake.client(), "ns", "traffic", Pace::default());
            tokio::spawn(async move {
                let own = format!("own {who}");
                for _ in 0..6 {
                    win(&store, "shared", "x").await;
                    // Nobody else publishes this: others' writes must not look like conflicts.
                    let next = last(&store.load().await.unwrap(), &own) + 1;
                    store.publish(&own, document(next, "x")).await.unwrap();
                }
            })
        });
        for replica in replicas.collect::<Vec<_>>() {
            replica.await.unwrap();
        }
        let store = KubernetesStore::new(fake.client(), "ns", "traffic", Pace::default());
        let loaded = store.load().await.unwrap();
        let revisions: Vec<_> = loaded["shared"].iter().map(|d| d.revision).collect();
        assert_eq!(revisions, (1..=24).collect::<Vec<_>>());
        assert!((0..4).all(|who| loaded[&format!("own {who}")].len() == 6));
    });
}
