use std::time::Duration;

use super::super::sim::{Rng, share};
use super::*;

fn judge(gate: &str, candidate: &ArmFigures, baseline: &ArmFigures) -> Judgement {
    gate.parse::<Gate>().unwrap().judge(candidate, baseline, 100, 0.05)
}

fn requests(n: u64, errors: u64) -> ArmFigures {
    ArmFigures { requests: Counts::new(n, errors), ..ArmFigures::default() }
}

fn accuracy(n: u64, k: u64) -> ArmFigures {
    let counts = Counts::new(n, k);
    ArmFigures { accuracy: counts, agreement: counts, ..ArmFigures::default() }
}

fn latency(rng: &mut Rng, n: u64, mean_ms: f64) -> ArmFigures {
    let mut figures = ArmFigures::default();
    let draw = |rng: &mut Rng| Duration::from_secs_f64(rng.exponential() * mean_ms / 1e3);
    (0..n).for_each(|_| figures.latency.record(draw(rng)));
    figures
}

#[test]
fn a_candidate_that_always_fails_breaches_at_once() {
    for gate in ["error_rate<=0.5%", "error_rate<=+0.5pp", "error_rate<=2x"] {
        let j = judge(gate, &requests(20, 20), &requests(1000, 1));
        assert_eq!(j.state, GateState::Breached, "{gate}: {}", j.detail);
    }
    let j = judge("error_rate<=0.5%", &requests(3, 3), &requests(0, 0));
    assert_eq!(j.detail, "error rate 100 % of at most 0.5%; breached (p < 0.0001)");
    let alone = judge("error_rate<=+0.5pp", &requests(20, 20), &requests(0, 0));
    assert_eq!(alone.state, GateState::Waiting);
    assert_eq!(
        alone.detail,
        "error rate 100 %, nothing to compare it to yet; 0 of 100 samples so far"
    );
}

#[test]
fn waits_for_samples_and_then_for_proof() {
    let j = judge("error_rate<=0.5%", &requests(99, 0), &requests(0, 0));
    assert_eq!((j.state, j.samples), (GateState::Waiting, 99));
    assert_eq!(j.detail, "error rate 0 % of at most 0.5%; 99 of 100 samples so far");
    let j = judge("error_rate<=0.5%", &requests(1000, 5), &requests(0, 0));
    assert_eq!((j.state, j.candidate, j.baseline), (GateState::Ok, Some(0.005), None));
    let j = judge("error_rate<=0.5%", &requests(1000, 6), &requests(0, 0));
    assert_eq!(j.state, GateState::Waiting);
    assert_eq!(j.detail, "error rate 0.60 % of at most 0.5%; outside, but not proven (p = 1.00)");
    let j = judge("error_rate<=0.5%", &requests(10_000, 100), &requests(0, 0));
    assert_eq!(j.state, GateState::Breached);
    let empty = judge("p99<=1.2x", &ArmFigures::default(), &ArmFigures::default());
    assert_eq!(empty.detail, "no p99 yet; 0 of 100 samples so far");
}

#[test]
fn ten_times_slower_breaches() {
    let rng = &mut Rng::new(11);
    let baseline = latency(rng, 2000, 2.0);
    for gate in ["p99<=1.2x", "p50<=1.2x", "p50<=3ms"] {
        let j = judge(gate, &latency(rng, 60, 20.0), &baseline);
        assert_eq!(j.state, GateState::Breached, "{gate}: {}", j.detail);
        assert!(j.candidate.unwrap() > 5.0 * j.baseline.unwrap());
        let j = judge(gate, &latency(rng, 2000, 2.0), &baseline);
        assert_eq!(j.state, GateState::Ok, "{gate}: {}", j.detail);
    }
    let j = judge("p99<=1.2x", &latency(rng, 500, 2.0), &baseline);
    assert!(j.detail.starts_with("p99 ") && j.detail.contains("x of at most 1.2x"), "{}", j.detail);
    assert_eq!(j.samples, 500);
}

#[test]
fn accuracy_and_agreement() {
    let baseline = accuracy(4100, 3784);
    for gate in ["accuracy>=-0.5pp", "accuracy>=90%"] {
        let j = judge(gate, &accuracy(4200, 3639), &baseline);
        assert_eq!(j.state, GateState::Breached, "{gate}: {}", j.detail);
        let j = judge(gate, &accuracy(4200, 3880), &baseline);
        assert_eq!(j.state, GateState::Ok, "{gate}: {}", j.detail);
    }
    let j = judge("accuracy>=-0.5pp", &accuracy(4200, 3639), &baseline);
    assert_eq!(
        j.detail,
        "accuracy 86.6 % against 92.3 %: -5.6pp of at least -0.5pp; breached (p < 0.0001)"
    );
    // Agreement has no baseline to wait for.
    let j = judge("agreement>=97%", &accuracy(1000, 975), &ArmFigures::default());
    assert_eq!(j.state, GateState::Ok);
    let j = judge("agreement>=97%", &accuracy(1000, 900), &ArmFigures::default());
    assert_eq!(j.state, GateState::Breached);
}

#[test]
fn rewards() {
    let of = |n: u64, mean: f64| {
        let x = n as f64;
        let reward = Moments { n, sum: x * mean, sum_sq: x * (mean * mean + 1.0) };
        ArmFigures { reward, ..ArmFigures::default() }
    };
    let j = judge("reward>=-0.1", &of(5000, 0.2), &of(5000, 0.5));
    assert_eq!(j.state, GateState::Breached, "{}", j.detail);
    let j = judge("reward>=-0.1", &of(5000, 0.4), &of(5000, 0.5));
    assert_eq!(j.state, GateState::Ok, "{}", j.detail);
    let j = judge("reward>=0.4", &of(5000, 0.2), &of(0, 0.0));
    assert_eq!(j.state, GateState::Breached, "{}", j.detail);
}

#[test]
fn a_candidate_on_the_edge_is_rarely_called_a_breach() {
    for (gate, rates) in [
        ("error_rate<=2%", [0.02, 0.02]),
        ("error_rate<=+1pp", [0.03, 0.02]),
        ("error_rate<=2x", [0.06, 0.03]),
    ] {
        let gate: Gate = gate.parse().unwrap();
        let breached = share(300, |rng| {
            let (mut c, mut b) = (ArmFigures::default(), ArmFigures::default());
            (0..700).any(|i| {
                c.requests.record(rng.hit(rates[0]));
                b.requests.record(rng.hit(rates[1]));
                i % 10 == 0 && gate.read_share(c.requests, b.requests, false).p_value <= 0.05
            })
        });
        assert!(breached <= 0.05, "{gate}: {breached}");
    }
}

#[test]
fn serialises_as_the_api_says() {
    let j = judge("error_rate<=0.5%", &requests(3, 3), &requests(0, 0));
    let json = serde_json::to_value(&j).unwrap();
    assert_eq!((&json["state"], &json["samples"]), (&"breached".into(), &3.into()));
}
