use serde_json::json;

use super::super::table::plain;
use super::*;

fn rollout(state: &str, gates: Value) -> Rollout {
    let answer = json!({
        "model": "digits", "id": "x", "from": 6, "to": 7, "steps": [0.5, 5.0, 25.0, 100.0],
        "step": 2, "state": state, "interval": "2m", "timeout": "30m", "min_samples": 100,
        "gates": gates, "in_step_seconds": 65.2, "reason": "rollout: version 7 goes on to 25 %"
    });
    serde_json::from_value(answer).unwrap()
}

#[test]
fn shows_the_ladder_and_the_gates() {
    let running = rollout(
        "running",
        json!([
            {"gate": "error_rate<=0.5%", "state": "ok", "candidate": 0.0012, "baseline": null,
             "samples": 1234, "detail": "0.12 % of 1234 failed"},
            {"gate": "p99<=1.2x", "state": "breached", "candidate": 0.0133, "baseline": 0.0042,
             "samples": 99, "detail": "3.17x of at most 1.2x"},
            {"gate": "reward>=-0.1", "state": "waiting", "candidate": 0.4, "baseline": 0.41234,
             "samples": 0, "detail": "0 of 100"}
        ]),
    );
    assert_eq!(
        plain(&running.text()),
        "rollout of digits: version 7 over 6\n\
         steps  0.5% 5% [25%] 100%\n\
         state  running for 1m 5s; a step takes 2m to 30m\n\
         why    rollout: version 7 goes on to 25 %\n\
         \n\
         gate              state     candidate  baseline  samples  detail\n\
         error_rate<=0.5%  ok            0.12%         -     1234  0.12 % of 1234 failed\n\
         p99<=1.2x         breached    13.3 ms   4.20 ms       99  3.17x of at most 1.2x\n\
         reward>=-0.1      waiting         0.4    0.4123        0  0 of 100\n"
    );
    assert!(running.is_open());
}

#[test]
fn one_that_ended_tells_where_it_was() {
    let back = rollout("rolled_back", json!([]));
    assert_eq!(
        plain(&back.text()),
        "rollout of digits: version 7 over 6\n\
         steps  0.5% 5% [25%] 100%\n\
         state  rolled back\n\
         why    rollout: version 7 goes on to 25 %\n"
    );
    assert!(!back.is_open());
}

#[test]
fn one_that_has_not_begun_is_at_no_step() {
    assert_eq!(rollout("preparing", json!([])).ladder(), "0.5% 5% 25% 100%");
}
