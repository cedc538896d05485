use clap::Parser;
use serde_json::json;

use super::super::table::plain;
use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ExperimentArgs,
}

fn experiment(metric: &str) -> Experiment {
    let answer = json!({
        "model": "digits", "metric": metric, "min_effect": 0.01, "alpha": 0.05,
        "since_revision": 9, "seconds": 7300.0,
        "arms": [
            {"version": 1, "weight": 5000, "requests": 5012, "errors": 3,
             "latency_ms": {"p50": 3.8, "p90": 7.91, "p99": 12.81}, "samples": 1500,
             "mean": 0.921, "interval": [0.9051, 0.9349]},
            {"version": 2, "weight": 5000, "requests": 4988, "errors": 0,
             "latency_ms": {"p50": null, "p90": null, "p99": null}, "samples": 0,
             "mean": null, "interval": null}
        ],
        "comparisons": [
            {"baseline": 1, "version": 2, "difference": -0.056, "interval": [-0.07, -0.042],
             "p_value": 0.0001, "verdict": "worse", "words": "…"},
            {"baseline": 1, "version": 3, "difference": null, "interval": null,
             "p_value": 1.0, "verdict": "keep_going", "words": "…"}
        ],
        "sample_ratio": {"p_value": 0.41, "requests": 10000, "ok": true, "words": "as weighed"},
        "verdict": "version 2 is worse than version 1"
    });
    serde_json::from_value(answer).unwrap()
}

#[test]
fn shows_arms_comparisons_and_a_verdict() {
    assert_eq!(
        plain(&experiment("accuracy").text()),
        "experiment on digits: accuracy, differences from 1 pp on, since revision 9 (2h 1m ago)\n\
         \n\
         version  weight  requests  errors      p50      p90      p99  samples  accuracy\n\
         \x20     1     50%      5012       3  3.80 ms  7.91 ms  12.8 ms     1500  92.10% (90.51% to \
         93.49%)\n\
         \x20     2     50%      4988       0        -        -        -        0  -\n\
         \n\
         version  against  difference  interval               p  verdict\n\
         \x20     2        1     -5.6 pp  -7 pp to -4.2 pp  0.0001  worse\n\
         \x20     3        1           -  -                      1  keep going\n\
         \n\
         shares   as weighed (p 0.41, 10000 requests)\n\
         verdict  version 2 is worse than version 1\n"
    );
}

#[test]
fn rewards_are_no_percentages() {
    let text = plain(&experiment("reward").text());
    assert!(text.contains("0.921 (0.9051 to 0.9349)"), "{text}");
    assert!(text.contains("-0.056  -0.07 to -0.042"), "{text}");
}

#[test]
fn asks_for_what_was_said_only() {
    let query = |args: &[&str]| {
        Cli::try_parse_from(["experiment", "m"].iter().chain(args)).map(|cli| cli.args.query())
    };
    assert_eq!(query(&[]).unwrap(), "");
    let all = ["--baseline=1", "--min-effect=0.02", "--metric=reward"];
    assert_eq!(query(&all).unwrap(), "?baseline=1&min_effect=0.02&metric=reward");
    assert!(query(&["--metric=speed"]).unwrap_err().to_string().contains("accuracy, reward"));
    assert!(query(&["--min-effect=-1"]).unwrap_err().to_string().contains("0 or more"));
    assert!(query(&["--end-bandit", "--bandit=min=5%"]).is_err());
}
