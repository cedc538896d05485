use super::*;
use crate::stats::sim::Rng;

fn took(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn near(got: f64, wanted: f64, part: f64) {
    assert!((got / wanted - 1.0).abs() < part, "{got} instead of {wanted}");
}

/// Learns `n` batches of each of `sizes` in turn, from an engine that takes `truth` give or take a twentieth.
fn learn(cost: &mut Cost, truth: Curve, sizes: &[usize], n: usize, rng: &mut Rng) {
    for _ in 0..n {
        for rows in sizes {
            cost.learn(*rows, took(truth.exec(*rows) * (0.05 * rng.normal()).exp()));
        }
    }
}

#[test]
fn learns_a_line_through_the_noise() {
    for truth in [(0.003, 0.01), (0.01, 0.0003), (0.0, 0.01), (0.01, 1e-6)] {
        let (truth, mut rng) = (Curve { fixed: truth.0, row: truth.1 }, Rng::new(1));
        let mut cost = Cost::default();
        assert_eq!(cost.curve(), None);
        learn(&mut cost, truth, &[1, 2, 4, 8, 20, 32], 40, &mut rng);
        let curve = cost.curve().unwrap();
        [1, 3, 8, 32].iter().for_each(|b| near(curve.exec(*b), truth.exec(*b), 0.05));
    }
}

#[test]
fn one_size_alone_is_known_and_the_rest_is_assumed_to_be_half_fixed() {
    let mut cost = Cost::default();
    (0..50).for_each(|_| cost.learn(1, took(0.02)));
    let curve = cost.curve().unwrap();
    near(curve.fixed, 0.01, 0.01);
    near(curve.row, 0.01, 0.01);
    // The first batches of another size say better.
    (0..5).for_each(|_| cost.learn(4, took(0.074)));
    near(cost.curve().unwrap().row, 0.018, 0.05);
}

#[test]
fn a_thread_that_lost_its_core_is_no_news_and_a_slower_machine_is() {
    let (truth, mut rng) = (Curve { fixed: 0.002, row: 0.01 }, Rng::new(2));
    let mut cost = Cost::default();
    learn(&mut cost, truth, &[1, 2, 4, 8], 30, &mut rng);
    cost.learn(4, took(10.0 * truth.exec(4)));
    near(cost.curve().unwrap().exec(4), truth.exec(4), 0.05);
    let slow = Curve { fixed: 0.004, row: 0.02 };
    learn(&mut cost, slow, &[1, 2, 4, 8], 60, &mut rng);
    near(cost.curve().unwrap().exec(4), slow.exec(4), 0.06);
}

#[test]
fn what_is_not_run_at_present_is_remembered_and_follows() {
    let (truth, mut rng) = (Curve { fixed: 0.01, row: 0.0005 }, Rng::new(3));
    let mut cost = Cost::default();
    learn(&mut cost, truth, &[1, 2, 4, 8, 16, 32], 30, &mut rng);
    learn(&mut cost, truth, &[1], 5000, &mut rng);
    near(cost.curve().unwrap().exec(32), truth.exec(32), 0.1);
    let slow = Curve { fixed: 0.02, row: 0.001 };
    learn(&mut cost, slow, &[1], 5000, &mut rng);
    near(cost.curve().unwrap().exec(32), slow.exec(32), 0.15);
}

#[test]
fn tells_what_fits_and_what_a_row_takes_of_the_capacity() {
    let curve = Curve { fixed: 0.01, row: 0.002 };
    assert_eq!([curve.rows_within(0.02), curve.rows_within(0.005)], [5, 0]);
    near(curve.share(5), 0.004, 1e-9);
}

#[test]
fn a_batch_that_costs_more_a_row_does_not_pay_until_that_is_forgotten() {
    let mut rng = Rng::new(4);
    let mut noisy = |seconds: f64| took(seconds * (0.05 * rng.normal()).exp());
    let mut cost = Cost::default();
    // As an engine was seen to be: 12.5 ms, 5.1 a row of two, 11 a row of eight.
    let mut run = |cost: &mut Cost, rows, seconds, n| {
        (0..n).for_each(|_| cost.learn(rows, noisy(seconds)));
    };
    run(&mut cost, 8, 0.0888, 2);
    run(&mut cost, 2, 0.0103, 20);
    run(&mut cost, 1, 0.0125, 20);
    assert_eq!(cost.pays_up_to(), None, "two runs are no evidence");
    run(&mut cost, 8, 0.0888, 2);
    assert_eq!(cost.pays_up_to(), Some(2));
    run(&mut cost, 2, 0.0103, 2000);
    assert_eq!(cost.pays_up_to(), None, "it may have changed since");
    // Where a row costs the same in any batch, or less, all pay.
    for truth in [Curve { fixed: 0.0, row: 0.01 }, Curve { fixed: 0.01, row: 0.001 }] {
        let mut cost = Cost::default();
        [1, 2, 4, 8, 32].iter().for_each(|b| run(&mut cost, *b, truth.exec(*b), 50));
        assert_eq!(cost.pays_up_to(), None);
    }
}
