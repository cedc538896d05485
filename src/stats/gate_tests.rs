use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Gate, String> {
    text.parse().map_err(|e: GateError| e.to_string())
}

#[test]
fn reads_what_people_write_and_gives_it_back() {
    let cases = [
        ("error_rate<=0.5%", Metric::ErrorRate, Limit::Share(0.005)),
        ("error_rate<=+0.5pp", Metric::ErrorRate, Limit::Points(0.005)),
        ("error_rate<=1.5x", Metric::ErrorRate, Limit::Times(1.5)),
        ("error_rate<=0%", Metric::ErrorRate, Limit::Share(0.0)),
        ("p99<=1.2x", Metric::Latency(0.99), Limit::Times(1.2)),
        ("p99.9<=1.20x", Metric::Latency(0.999), Limit::Times(1.2)),
        ("p50<=30ms", Metric::Latency(0.5), Limit::Seconds(0.03)),
        ("p50<=500us", Metric::Latency(0.5), Limit::Seconds(0.0005)),
        ("p90<=1.5s", Metric::Latency(0.9), Limit::Seconds(1.5)),
        ("accuracy>=-0.5pp", Metric::Accuracy, Limit::Points(-0.005)),
        ("accuracy>=90%", Metric::Accuracy, Limit::Share(0.9)),
        ("agreement>=97%", Metric::Agreement, Limit::Share(0.97)),
        ("reward>=-0.1", Metric::Reward, Limit::Change(-0.1)),
        ("reward>=0.1", Metric::Reward, Limit::Value(0.1)),
    ];
    for (text, metric, limit) in cases {
        let gate = read(text).unwrap();
        assert_eq!((gate.metric(), gate.limit(), gate.to_string().as_str()), (metric, limit, text));
        let relative = matches!(limit, Limit::Points(_) | Limit::Times(_) | Limit::Change(_));
        assert_eq!(gate.is_relative(), relative);
        let json = serde_json::to_string(&gate).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Gate>(&json).unwrap(), gate);
    }
    assert_eq!(read(" p99 <= 1.2x ").unwrap().to_string(), "p99<=1.2x");
}

#[test]
fn says_what_is_wrong_and_what_is_valid() {
    let cases = [
        (
            "p99",
            "`p99` has neither <= nor >=: a gate looks like error_rate<=0.5%, p99<=1.2x or accuracy>=-0.5pp",
        ),
        ("p99<1.2x", "`p99<1.2x` has neither <= nor >="),
        ("", "`` has neither"),
        (
            "latency<=3ms",
            "`latency` is no metric: valid are error_rate, p50, p99, p99.9 and other quantiles, accuracy, agreement, reward",
        ),
        ("p100<=3ms", "`p100` is no metric"),
        ("p0<=3ms", "`p0` is no metric"),
        ("p-5<=3ms", "`p-5` is no metric"),
        ("pp<=3ms", "`pp` is no metric"),
        ("p99>=1.2x", "p99 is better low: write p99<=…"),
        ("accuracy<=90%", "accuracy is better high: write accuracy>=…"),
        (
            "p99<=1.2",
            "`1.2` is no limit for p99: valid are a multiple (1.2x), a time (500us, 30ms, 1.5s)",
        ),
        ("p99<=+5ms", "`+5ms` is no limit for p99"),
        (
            "accuracy>=0.5pp",
            "`0.5pp` is no limit for accuracy: valid are a share (90%), signed points (-0.5pp)",
        ),
        ("accuracy>=-90%", "`-90%` is no limit for accuracy"),
        ("agreement>=-1pp", "`-1pp` is no limit for agreement: valid are a share (97%)"),
        ("reward>=nan", "`nan` is no limit for reward"),
        ("reward>=", "`` is no limit for reward"),
        ("error_rate<=1e3%", "`1e3%` is no limit for error_rate"),
        ("error_rate<=101%", "`101%` is out of range for error_rate: a share is at most 100%"),
        ("p99<=0x", "`0x` is out of range for p99: a multiple is above 0x"),
        ("p99<=901s", "`901s` is out of range for p99: latencies are told apart up to 900s"),
        ("p99<=0ms", "`0ms` is out of range"),
        ("accuracy>=-200pp", "`-200pp` is out of range"),
    ];
    for (text, message) in cases {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(message), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC*") {
        let _ = read(&text);
    }

    #[test]
    fn what_is_read_reads_again(text in "(error_rate|p[0-9]{1,2}(\\.[0-9])?|accuracy|agreement|reward)(<=|>=)[+-]?[0-9]{1,3}(\\.[0-9]{1,3})?(%|pp|x|ms|us|s)?") {
        if let Ok(gate) = read(&text) {
            prop_assert_eq!(gate.to_string(), text);
            prop_assert_eq!(read(&gate.to_string()).unwrap(), gate);
        }
    }
}
