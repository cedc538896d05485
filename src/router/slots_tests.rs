use super::*;
use proptest::prelude::*;

fn weigh(weights: &[(u64, u32)]) -> BTreeMap<u64, u32> {
    weights.iter().copied().collect()
}

fn split(weights: &[(u64, u32)], before: Option<&Slots>) -> Slots {
    Slots::new(&weigh(weights), before).unwrap()
}

/// The owner of each slot.
fn owners(slots: &Slots) -> Vec<u64> {
    let point = |slot: u32| (((u128::from(slot) << 64) / u128::from(SLOTS)) + 1) as u64;
    (0..SLOTS).map(|slot| slots.pick(point(slot))).collect()
}

#[test]
fn a_ramp_takes_nobody_back() {
    let mut slots = Slots::all(1);
    let mut before = owners(&slots);
    for share in [1000, 2000, 5000, 10_000] {
        slots = split(&[(1, SLOTS - share), (2, share)], Some(&slots));
        let now = owners(&slots);
        assert_eq!(now.iter().filter(|v| **v == 2).count(), share as usize);
        assert!(before.iter().zip(&now).all(|(b, n)| *b == 1 || n == b), "at {share}");
        before = now;
    }
}

#[test]
fn the_hash_of_keys_falls_evenly() {
    let slots = split(&[(1, 7000), (2, 2500), (3, 500)], None);
    let n = 1_000_000u64;
    let mut hits = BTreeMap::new();
    for key in 0..n {
        let point = crate::router::plan::point("salt", &format!("user-{key}"));
        *hits.entry(slots.pick(point)).or_insert(0u64) += 1;
    }
    for (version, weight) in slots.weights() {
        let share = hits[&version] as f64 / n as f64;
        let due = f64::from(weight) / f64::from(SLOTS);
        assert!((share - due).abs() < 0.002, "version {version}: {share} of {due}");
    }
}

#[test]
fn the_edges_belong_to_somebody() {
    let slots = split(&[(1, 1), (2, 9999)], None);
    assert_eq!((slots.pick(0), slots.pick(u64::MAX)), (1, 2));
    assert_eq!(Slots::new(&weigh(&[(1, 9999)]), None), Err(SlotsError::Sum(9999)));
    assert_eq!(Slots::new(&weigh(&[]), None), Err(SlotsError::Sum(0)));
}

#[test]
fn any_weights_become_basis_points() {
    assert_eq!(normalise(&[(1, 90), (2, 10)]), Some(weigh(&[(1, 9000), (2, 1000)])));
    assert_eq!(
        normalise(&[(1, 1), (2, 1), (3, 1)]),
        Some(weigh(&[(1, 3334), (2, 3333), (3, 3333)]))
    );
    assert_eq!(normalise(&[(1, 0), (2, 5)]), Some(weigh(&[(2, SLOTS)])));
    assert_eq!(normalise(&[(1, 0)]), None);
}

#[test]
fn runs_that_cannot_be_are_refused() {
    for text in ["[]", "[[1,9999]]", "[[1,5000],[2,5000],[1,10000]]", "[[1,0],[2,10000]]"] {
        assert!(serde_json::from_str::<Slots>(text).is_err(), "{text}");
    }
    let slots = split(&[(1, 9000), (2, 1000)], Some(&Slots::all(2)));
    let text = serde_json::to_string(&slots).unwrap();
    assert_eq!(text, "[[2,1000],[1,10000]]");
    assert_eq!(serde_json::from_str::<Slots>(&text).unwrap(), slots);
}

fn any_weights() -> impl Strategy<Value = BTreeMap<u64, u32>> {
    let raw = prop::collection::vec((1u64..6, 0u32..1000), 1..6);
    raw.prop_filter_map("no weight", |raw| {
        let once: BTreeMap<u64, u32> = raw.into_iter().collect();
        normalise(&once.into_iter().collect::<Vec<_>>())
    })
}

proptest! {
    /// No change of weights can move fewer: what moves is what the growing arms grow by.
    #[test]
    fn moves_as_few_as_can_be(all in prop::collection::vec(any_weights(), 2..8)) {
        let mut slots = Slots::new(&all[0], None).unwrap();
        for weights in &all[1..] {
            let next = Slots::new(weights, Some(&slots)).unwrap();
            prop_assert_eq!(&next.weights(), weights);
            let (before, after) = (slots.weights(), next.weights());
            let grown: u32 = after
                .iter()
                .map(|(v, w)| w.saturating_sub(before.get(v).copied().unwrap_or(0)))
                .sum();
            let moved = owners(&slots).iter().zip(owners(&next)).filter(|(b, n)| **b != *n).count();
            prop_assert_eq!(moved, grown as usize);
            slots = next;
        }
    }
}
