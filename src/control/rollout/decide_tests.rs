use super::*;
use crate::control::document::TrafficSpec;
use crate::control::rollout::Start;
use crate::stats::Counts;

fn rollout(gates: &[&str]) -> Rollout {
    let start =
        serde_json::json!({ "to": 2, "steps": [10, 50, 100], "interval": "1m", "gates": gates });
    let start: Start = serde_json::from_value(start).unwrap();
    Rollout { state: Progress::Running, ..start.rollout(1).unwrap() }
}

fn figures(requests: u64, errors: u64) -> ArmFigures {
    ArmFigures { requests: Counts::new(requests, errors), ..ArmFigures::default() }
}

fn at(rollout: &Rollout, seconds: u64, errors: [u64; 2]) -> Decision {
    let [baseline, candidate] = errors.map(|e| figures(10_000, e));
    let look = Look::at(rollout, Duration::from_secs(seconds), [&baseline, &candidate]);
    decide(rollout, &look)
}

#[test]
fn goes_step_by_step_while_the_gates_hold() {
    let mut r = rollout(&["error_rate<=0.5%"]);
    assert!(matches!(at(&r, 59, [0, 0]), Decision::Hold(_)));
    for (step, weights) in [(0, [9000, 1000]), (1, [5000, 5000])] {
        let arms = r.traffic(&TrafficSpec::default()).weights();
        assert_eq!((r.step, arms.into_values().collect::<Vec<_>>()), (step, weights.to_vec()));
        assert_eq!(at(&r, 60, [0, 1]), Decision::Advance);
        (r, _) = r.after(&Decision::Advance).unwrap();
    }
    assert_eq!(at(&r, 60, [0, 1]), Decision::Complete);
    let (done, reason) = r.after(&Decision::Complete).unwrap();
    assert_eq!(done.traffic(&TrafficSpec::default()).weights(), [(2, 10_000)].into());
    assert!(reason.contains("version 2 has everything"), "{reason}");
}

#[test]
fn a_breach_is_acted_on_before_the_interval_is_over() {
    let r = rollout(&["error_rate<=0.5%"]);
    let decision = at(&r, 1, [0, 500]);
    let Decision::RollBack(why) = &decision else { panic!("{decision:?}") };
    assert!(why.starts_with("error_rate<=0.5% is breached: "), "{why}");
    let (back, _) = r.after(&decision).unwrap();
    assert_eq!(back.traffic(&TrafficSpec::default()).weights(), [(1, 10_000)].into());
    assert_eq!(back.state, Progress::RolledBack);
}

#[test]
fn what_has_not_decided_in_time_is_rolled_back() {
    let r = rollout(&["accuracy>=90%"]);
    // There is no feedback.
    assert!(matches!(at(&r, 60, [0, 0]), Decision::Hold(_)));
    let late = at(&r, r.timeout.get().as_secs(), [0, 0]);
    assert!(matches!(&late, Decision::RollBack(why) if why.contains("accuracy>=90%")), "{late:?}");
}

#[test]
fn a_paused_rollout_stays_unless_a_gate_is_breached() {
    let r = Rollout { state: Progress::Paused, ..rollout(&["error_rate<=0.5%"]) };
    assert!(matches!(at(&r, 9999, [0, 0]), Decision::Hold(_)));
    assert_eq!(r.after(&at(&r, 9999, [0, 0])), None);
    let no_feedback = Rollout { state: Progress::Paused, ..rollout(&["accuracy>=90%"]) };
    assert!(matches!(at(&no_feedback, 9999, [0, 0]), Decision::Hold(_)));
    let (back, _) = r.after(&at(&r, 1, [0, 9999])).unwrap();
    assert_eq!(back.state, Progress::RolledBack);
}

#[test]
fn agreement_is_seen_by_shadowing_the_candidate() {
    let r = rollout(&["agreement>=97%"]);
    let shadow = r.traffic(&TrafficSpec::default()).shadow;
    assert_eq!((shadow[0].version, shadow[0].percent), (2, 100.0));
    let done = Rollout { state: Progress::Done, ..r };
    assert_eq!(done.traffic(&TrafficSpec { shadow, ..TrafficSpec::default() }).shadow, []);
}

#[test]
fn a_start_that_makes_no_sense_is_refused() {
    let refused = |json: serde_json::Value| {
        serde_json::from_value::<Start>(json).unwrap().rollout(1).unwrap_err()
    };
    assert!(refused(serde_json::json!({ "to": 1 })).contains("has the traffic already"));
    assert!(refused(serde_json::json!({ "to": 2, "steps": [5, 5] })).contains("rise"));
    assert!(refused(serde_json::json!({ "to": 2, "steps": [0, 5] })).contains("rise"));
    let gate = refused(serde_json::json!({ "to": 2, "gates": ["speed<=1x"] }));
    assert!(gate.contains("speed"), "{gate}");
    let text = serde_json::json!({ "to": 2, "interval": "soon" });
    assert!(serde_json::from_value::<Start>(text).is_err());
}

#[test]
fn is_the_same_after_it_was_stored() {
    let r = rollout(&["p99<=1.2x", "accuracy>=-0.5pp"]);
    let text = serde_json::to_string(&r).unwrap();
    assert!(text.contains(r#""interval":"1m""#), "{text}");
    assert_eq!(serde_json::from_str::<Rollout>(&text).unwrap(), r);
}
