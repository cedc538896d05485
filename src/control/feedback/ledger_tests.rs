use super::*;
use proptest::prelude::*;

fn id(classes: &[u32]) -> PredictionId {
    PredictionId::issue("m", 1, classes.into()).unwrap()
}

fn label(row: u32, label: u32) -> Feedback {
    Feedback { row, label: Some(label), ..Feedback::default() }
}

fn ledger() -> (Ledger, Instant) {
    let now = Instant::now();
    (Ledger::new(now), now)
}

#[test]
fn a_label_is_compared_with_the_class_of_its_row() {
    let (ledger, now) = ledger();
    let id = id(&[7, 8]);
    assert_eq!(ledger.record(&id, &label(0, 7), now), Ok(true));
    assert_eq!(ledger.record(&id, &label(1, 7), now), Ok(true));
    let total = ledger.snapshot(now).total;
    assert_eq!((total.n, total.judged, total.correct, total.accuracy), (2, 2, 1, Some(0.5)));
    let seven = &total.classes[0];
    assert_eq!((seven.class, seven.support, seven.predicted, seven.hits), (Some(7), 2, 1, 1));
}

#[test]
fn the_same_row_of_the_same_answer_counts_once() {
    let (ledger, now) = ledger();
    let (a, b) = (id(&[1, 1]), id(&[1, 1]));
    assert_eq!(ledger.record(&a, &label(0, 1), now), Ok(true));
    assert_eq!(ledger.record(&a, &label(0, 2), now), Ok(false));
    assert_eq!(ledger.record(&a, &label(1, 1), now), Ok(true));
    assert_eq!(ledger.record(&b, &label(0, 1), now), Ok(true));
    assert_eq!(ledger.snapshot(now).total.correct, 3);
}

#[test]
fn what_is_refused_can_be_said_again_in_order() {
    let (ledger, now) = ledger();
    let id = id(&[4]);
    let bad = Feedback { reward: Some(f64::NAN), ..label(0, 4) };
    assert!(ledger.record(&id, &bad, now).is_err());
    assert_eq!(ledger.record(&id, &label(0, 4), now), Ok(true));
    assert_eq!(ledger.snapshot(now).total.n, 1);
}

#[test]
fn says_why_it_is_refused() {
    let (ledger, now) = ledger();
    let refused = |classes: &[u32], f: &Feedback| ledger.record(&id(classes), f, now).unwrap_err();
    assert_eq!(refused(&[1], &Feedback::default()), FeedbackError::Empty);
    assert_eq!(refused(&[1, 2], &label(2, 1)), FeedbackError::Row { row: 2, rows: 2 });
    assert!(refused(&[], &label(0, 1)).to_string().contains("`[feedback] class = true`"));
    for number in [f64::NAN, f64::INFINITY, -1e101] {
        let f = Feedback { value: Some(number), ..Feedback::default() };
        let text = refused(&[], &f).to_string();
        assert!(text.starts_with("value is ") && text.ends_with("at most 1e100"), "{text}");
    }
    let contradiction = Feedback { correct: Some(true), ..label(0, 1) };
    let expected = FeedbackError::Contradiction { label: 1, correct: true, predicted: 2 };
    assert_eq!(refused(&[2], &contradiction), expected);
    assert_eq!(ledger.snapshot(now).total.n, 0);
}

#[test]
fn correct_serves_where_no_class_is_known() {
    let (ledger, now) = ledger();
    let f = Feedback { correct: Some(true), ..label(5, 1) };
    assert_eq!(ledger.record(&id(&[]), &f, now), Ok(true));
    let f = Feedback { correct: Some(false), ..Feedback::default() };
    assert_eq!(ledger.record(&id(&[3]), &f, now), Ok(true));
    let total = ledger.snapshot(now).total;
    assert_eq!(total.accuracy, Some(0.5));
    assert!(total.classes.is_empty() && total.other.is_none());
}

#[test]
fn rewards_and_values_are_summed_by_window() {
    let (ledger, now) = ledger();
    for (at, reward) in [(0, 1.0), (400, 3.0), (3590, 5.0)] {
        let f = Feedback { reward: Some(reward), value: Some(-reward), ..Feedback::default() };
        let at = now + Duration::from_secs(at);
        assert_eq!(ledger.record(&id(&[]), &f, at), Ok(true));
    }
    let s = ledger.snapshot(now + Duration::from_secs(3600));
    let means = [&s.total, &s.last_1h, &s.last_5m].map(|q| (q.n, q.reward_mean, q.value_mean));
    let expected = [(3, 3.0), (2, 4.0), (1, 5.0)].map(|(n, m)| (n, Some(m), Some(-m)));
    assert_eq!(means, expected);
    assert_eq!((s.total.reward.sum_squares, s.total.accuracy), (35.0, None));
}

#[test]
fn classes_beyond_the_bound_are_counted_together() {
    let (ledger, now) = ledger();
    for class in 0..2 * MAX_CLASSES as u32 {
        // Two of the rest that differ are no hit.
        let truth = if class == 1500 { 1501 } else { class };
        ledger.record(&id(&[class]), &label(0, truth), now).unwrap();
    }
    let s = ledger.snapshot(now);
    assert_eq!(ledger.lock().classes.len(), MAX_CLASSES);
    assert_eq!(ledger.lock().total.classes.len(), MAX_CLASSES + 1);
    let other = s.total.other.clone().unwrap();
    assert_eq!((other.support, other.predicted, other.hits), (1980, 1980, 1979));
    assert_eq!(s.total, s.last_1h);
}

proptest! {
    #[test]
    fn counts_what_a_plain_list_counts(
        rows in prop::collection::vec((0u128..20, 0u32..2, 0u32..4, 0u32..4), 0..80),
    ) {
        let (ledger, now) = ledger();
        let mut taken = std::collections::HashMap::new();
        for (unique, row, truth, predicted) in rows {
            let unique = uuid::Uuid::from_u128(unique);
            let id = PredictionId::new(unique, "m", 1, [predicted; 2].as_slice().into()).unwrap();
            let new = ledger.record(&id, &label(row, truth), now).unwrap();
            prop_assert_eq!(new, !taken.contains_key(&(unique, row)));
            taken.entry((unique, row)).or_insert((truth, predicted));
        }
        let s = ledger.snapshot(now);
        prop_assert_eq!(s.total.n as usize, taken.len());
        for c in &s.total.classes {
            let class = c.class.unwrap();
            let support = taken.values().filter(|(t, _)| *t == class).count();
            let hits = taken.values().filter(|p| **p == (class, class)).count();
            prop_assert_eq!((c.support as usize, c.hits as usize), (support, hits));
        }
        prop_assert_eq!(&s.total, &s.last_5m);
    }
}
