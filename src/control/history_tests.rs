use super::*;
use jiff::Timestamp;

fn set(versions: &[u64]) -> BTreeSet<u64> {
    versions.iter().copied().collect()
}

fn weights(plan: Option<Plan>) -> Vec<(u64, u32)> {
    plan.map(|p| p.slots.weights().into_iter().collect()).unwrap_or_default()
}

fn spec(weights: &[(u64, u32)]) -> TrafficSpec {
    TrafficSpec::weighed(&weights.iter().copied().collect())
}

/// As the operator makes one.
fn document(history: &History, traffic: TrafficSpec) -> Document {
    Document {
        revision: history.revision() + 1,
        author: "test".into(),
        reason: String::new(),
        created: Timestamp::UNIX_EPOCH,
        restores: None,
        slots: history.slots(&traffic),
        traffic,
        rollout: None,
        bandit: None,
    }
}

fn publish(history: &mut History, traffic: TrafficSpec) {
    let document = document(history, traffic);
    assert!(history.adopt([document]));
}

fn back(history: &mut History) -> Result<(), Rollback> {
    let earlier = history.earlier()?;
    let document = Document {
        restores: earlier.revision,
        slots: earlier.slots.clone(),
        ..document(history, earlier.traffic)
    };
    history.adopt([document]);
    Ok(())
}

#[test]
fn follows_the_latest_until_told_otherwise() {
    let mut h = History::default();
    assert_eq!(h.settle("m", &set(&[])), None);
    assert_eq!(weights(h.settle("m", &set(&[1]))), [(1, 10_000)]);
    assert_eq!(h.earlier(), Err(Rollback::NoEarlier));
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(2, 10_000)]);
    assert_eq!((h.revision(), h.follows_latest()), (0, true));
    assert_eq!(h.retained(1), [2, 1]);
    assert_eq!(h.retained(0), [2]);
    // Back to what was the latest before, and not on to 3 when it comes.
    back(&mut h).unwrap();
    assert_eq!(weights(h.settle("m", &set(&[1, 2, 3]))), [(1, 10_000)]);
    assert!(!h.follows_latest());
}

#[test]
fn the_latest_is_one_of_the_selected() {
    let mut h = History::default();
    h.select(&set(&[2]));
    assert_eq!(weights(h.settle("m", &set(&[1]))), [(1, 10_000)]);
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(2, 10_000)]);
    // An older one is asked for, and 2 stays to be gone back to.
    h.select(&set(&[1]));
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(1, 10_000)]);
    // 2 is not what bridges the time until 3 is there.
    h.select(&set(&[3]));
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(1, 10_000)]);
    assert_eq!(weights(h.settle("m", &set(&[2]))), [(2, 10_000)]);
    assert_eq!(weights(h.settle("m", &set(&[2, 3]))), [(3, 10_000)]);
}

#[test]
fn going_back_twice_goes_back_two_documents() {
    let mut h = History::default();
    let all = set(&[1, 2]);
    for weights in [&[(1, 1)][..], &[(1, 9), (2, 1)], &[(2, 1)]] {
        publish(&mut h, spec(weights));
        h.settle("m", &all);
    }
    back(&mut h).unwrap();
    assert_eq!(weights(h.settle("m", &all)), [(1, 9000), (2, 1000)]);
    back(&mut h).unwrap();
    assert_eq!(weights(h.settle("m", &all)), [(1, 10_000)]);
    assert_eq!(h.earlier(), Err(Rollback::NoEarlier));
    assert_eq!(h.current().unwrap().restores, Some(1));
    assert_eq!(h.revision(), 5);
}

#[test]
fn what_was_gone_back_to_is_what_was_before_the_next_change() {
    let mut h = History::default();
    let all = set(&[1, 2, 3]);
    for weights in [&[(1, 1)][..], &[(2, 1)]] {
        publish(&mut h, spec(weights));
        h.settle("m", &all);
    }
    back(&mut h).unwrap();
    publish(&mut h, spec(&[(3, 1)]));
    // Version 1 again, and then 2, which was before that.
    for version in [1, 2, 1] {
        back(&mut h).unwrap();
        assert_eq!(weights(h.settle("m", &all)), [(version, 10_000)]);
    }
}

#[test]
fn users_are_where_they_were_after_going_back() {
    let mut h = History::default();
    let all = set(&[1, 2, 3]);
    h.settle("m", &all);
    let mut plans = Vec::new();
    for weights in [&[(1, 5), (2, 5)][..], &[(1, 2), (2, 3), (3, 5)]] {
        publish(&mut h, spec(weights));
        plans.push(h.settle("m", &all).unwrap().slots);
    }
    back(&mut h).unwrap();
    assert_eq!(h.settle("m", &all).unwrap().slots, plans[0]);
}

#[test]
fn a_document_waits_for_all_its_versions_and_the_one_before_holds() {
    let mut h = History::default();
    publish(&mut h, spec(&[(1, 1)]));
    assert_eq!(weights(h.settle("m", &set(&[1]))), [(1, 10_000)]);
    publish(&mut h, spec(&[(1, 1), (3, 1)]));
    assert_eq!(weights(h.settle("m", &set(&[1]))), [(1, 10_000)]);
    assert!(h.needed().contains(&3));
    assert_eq!(weights(h.settle("m", &set(&[1, 3]))), [(1, 5000), (3, 5000)]);
    // One that goes leaves its share to the others.
    assert_eq!(weights(h.settle("m", &set(&[3]))), [(3, 10_000)]);
}

#[test]
fn at_the_start_the_available_part_serves() {
    let mut h = History::default();
    h.set_base(Traffic::Weighted([(1, 9), (2, 1)].into()));
    assert_eq!(weights(h.settle("m", &set(&[1]))), [(1, 10_000)]);
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(1, 9000), (2, 1000)]);
    assert_eq!(h.settle("m", &set(&[])), None);
    // What was not a document can be gone back to all the same.
    publish(&mut h, spec(&[(2, 1)]));
    back(&mut h).unwrap();
    assert_eq!(weights(h.settle("m", &set(&[1, 2]))), [(1, 9000), (2, 1000)]);
}

#[test]
fn an_older_document_never_comes_back() {
    let mut h = History::default();
    publish(&mut h, spec(&[(1, 1)]));
    let stale = document(&History::default(), spec(&[(2, 1)]));
    assert!(!h.adopt([stale]));
    assert_eq!(h.current().unwrap().traffic, spec(&[(1, 1)]));
    for n in 0..100 {
        publish(&mut h, spec(&[(n, 1)]));
    }
    assert_eq!((h.documents().len(), h.revision()), (KEPT, 101));
    assert_eq!(h.at(5), Err(Rollback::Unknown(5)));
    assert_eq!(h.at(100).unwrap().revision, Some(100));
}

#[test]
fn what_an_offer_overtook_is_filled_in_and_can_be_gone_back_to() {
    let mut h = History::default();
    let all = set(&[1, 2, 3]);
    publish(&mut h, spec(&[(1, 1)]));
    let second = document(&h, spec(&[(2, 1)]));
    let third = Document { revision: 3, ..document(&h, spec(&[(3, 1)])) };
    assert!(h.adopt([third]));
    assert_eq!(weights(h.settle("m", &all)), [(3, 10_000)]);
    // It changes nothing of what is in force.
    assert!(!h.adopt([h.documents()[0].clone(), second]));
    assert_eq!(weights(h.settle("m", &all)), [(3, 10_000)]);
    assert_eq!(h.documents().iter().map(|d| d.revision).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(h.earlier().unwrap().revision, Some(2));
}
