//! The figures of a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Load;
use crate::drive::Finished;
use crate::record::{Tally, Times};
use crate::watch::{self, Looks};

/// All figures. Times are milliseconds.
#[derive(Serialize)]
pub struct Report {
    mode: String,
    max_in_flight: usize,
    phases: Vec<PhaseReport>,
    seconds: Vec<SecondReport>,
}

#[derive(Serialize)]
struct PhaseReport {
    name: String,
    seconds: f64,
    /// Requests a second that were meant to be sent, or were in a closed loop.
    offered_per_second: f64,
    /// Successful answers a second within the phase.
    good_per_second: f64,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<&'static str, u64>,
    not_sent: u64,
    /// Successful answers that took longer than the objective, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    over_slo: Option<u64>,
    ok: Quantiles,
    ok_service: Quantiles,
    refused: Quantiles,
    refused_service: Quantiles,
    other: Quantiles,
    late: Quantiles,
    bytes_sent: u64,
    bytes_received: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
}

/// What the server used in a phase.
#[derive(Serialize)]
struct Server {
    cpu_seconds: f64,
    cpu_seconds_per_good_answer: f64,
    rss_first_bytes: u64,
    rss_max_bytes: u64,
    rss_last_bytes: u64,
}

#[derive(Serialize)]
struct Quantiles {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Serialize)]
struct SecondReport {
    sent: u64,
    ok: u64,
    refused: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    over_slo: Option<u64>,
    p50: f64,
    p99: f64,
}

impl Report {
    /// Sums a run up; answers should have come within `slo`.
    pub fn new(run: &Finished, slo: Option<Duration>) -> Report {
        let (mode, names): (String, Vec<String>) = match &run.load {
            Load::Closed { concurrency, .. } => {
                ("closed loop".to_owned(), vec![format!("{concurrency} at a time")])
            }
            Load::Open { phases, seed, .. } => {
                let name = |p: &crate::arrivals::Phase| format!("{}/s", p.rate);
                (format!("open loop, seed {seed}"), phases.iter().map(name).collect())
            }
        };
        let phases = names.into_iter().zip(&run.phases).zip(&run.record.phases);
        let seconds = run.record.seconds.iter().map(|s| {
            let q = Quantiles::of(&s.times);
            SecondReport {
                sent: s.sent,
                ok: s.ok,
                refused: s.refused,
                failed: s.failed,
                over_slo: slo.map(|slo| over(&s.times, slo)),
                p50: q.p50,
                p99: q.p99,
            }
        });
        Report {
            mode,
            max_in_flight: run.record.max_in_flight,
            phases: phases.map(|((n, t), p)| PhaseReport::new(n, *t, p, &run.looks, slo)).collect(),
            seconds: seconds.collect(),
        }
    }

    /// A table, one line a phase.
    pub fn table(&self) -> String {
        let mut text = format!("{}, {} in flight at most\n", self.mode, self.max_in_flight);
        let titles = [
            "load",
            "offered/s",
            "good/s",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
            "refused",
            "p99",
            "max",
            "failed",
        ];
        let mut rows = vec![titles.map(str::to_owned)];
        for p in &self.phases {
            rows.push([
                p.name.clone(),
                format!("{:.1}", p.offered_per_second),
                format!("{:.1}", p.good_per_second),
                format!("{:.1}", p.ok.p50),
                format!("{:.1}", p.ok.p90),
                format!("{:.1}", p.ok.p99),
                format!("{:.1}", p.ok.p999),
                format!("{:.1}", p.ok.max),
                p.refused.count.to_string(),
                format!("{:.1}", p.refused.p99),
                format!("{:.1}", p.refused.max),
                (p.other.count).to_string(),
            ]);
        }
        for row in &rows {
            for (i, cell) in row.iter().enumerate() {
                let width = rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
                // Writing to a string can't fail.
                let _ = write!(text, "{cell:>width$}  ");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push_str("times in ms from the intended start; good/s are 2xx answers that came in\n");
        for p in &self.phases {
            p.remarks(&mut text);
        }
        text
    }
}

impl PhaseReport {
    fn new(
        name: String,
        (from, to): (Duration, Duration),
        tally: &Tally,
        looks: &Looks,
        slo: Option<Duration>,
    ) -> Self {
        let seconds = (to - from).as_secs_f64();
        let all = tally.ok.len() + tally.refused.len() + tally.other.len() + tally.not_sent;
        let server = watch::at(looks, from).zip(watch::at(looks, to)).map(|(first, last)| {
            let within = looks.iter().filter(|(t, _)| (from..=to).contains(t));
            let cpu_seconds = last.cpu_seconds - first.cpu_seconds;
            Server {
                cpu_seconds,
                cpu_seconds_per_good_answer: cpu_seconds / tally.good.max(1) as f64,
                rss_first_bytes: first.rss_bytes,
                rss_max_bytes: within.map(|(_, l)| l.rss_bytes).max().unwrap_or(last.rss_bytes),
                rss_last_bytes: last.rss_bytes,
            }
        });
        PhaseReport {
            name,
            seconds,
            offered_per_second: all as f64 / seconds,
            good_per_second: tally.good as f64 / seconds,
            statuses: tally.statuses.clone(),
            errors: tally.errors.clone(),
            not_sent: tally.not_sent,
            over_slo: slo.map(|slo| over(&tally.ok, slo)),
            ok: Quantiles::of(&tally.ok),
            ok_service: Quantiles::of(&tally.ok_service),
            refused: Quantiles::of(&tally.refused),
            refused_service: Quantiles::of(&tally.refused_service),
            other: Quantiles::of(&tally.other),
            late: Quantiles::of(&tally.late),
            bytes_sent: tally.bytes_sent,
            bytes_received: tally.bytes_received,
            server,
        }
    }

    fn remarks(&self, text: &mut String) {
        // Writing to a string can't fail.
        let _ = write!(text, "{}: statuses {:?}", self.name, self.statuses);
        if !self.errors.is_empty() || self.not_sent > 0 {
            let _ = write!(text, ", errors {:?}, not sent {}", self.errors, self.not_sent);
        }
        if let Some(over) = self.over_slo {
            let _ = write!(text, ", {over} answered later than the objective");
        }
        if self.late.p99 > 5.0 {
            let _ = write!(text, "; the generator itself was late, p99 {:.1} ms", self.late.p99);
        }
        if let Some(s) = &self.server {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            let _ = write!(
                text,
                "; server {:.2} CPU-s, {:.2} CPU-ms an answer, RSS {:.0} MB, {:.0} at most",
                s.cpu_seconds,
                s.cpu_seconds_per_good_answer * 1e3,
                mb(s.rss_last_bytes),
                mb(s.rss_max_bytes)
            );
        }
        text.push('\n');
    }
}

/// How many took longer.
fn over(times: &Times, slo: Duration) -> u64 {
    let within = u64::try_from(slo.as_micros()).unwrap_or(u64::MAX);
    times.len() - times.count_between(0, within)
}

impl Quantiles {
    fn of(times: &Times) -> Quantiles {
        let q = |q| times.value_at_quantile(q) as f64 / 1e3;
        Quantiles {
            count: times.len(),
            mean: times.mean() / 1e3,
            p50: q(0.5),
            p90: q(0.9),
            p95: q(0.95),
            p99: q(0.99),
            p999: q(0.999),
            max: times.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Outcome;
    use crate::record::{Record, Sample};
    use crate::watch::Look;

    #[test]
    fn sums_up_in_figures_and_in_words() {
        let second = Duration::from_secs(1);
        let mut record = Record::new(vec![second]);
        for (ms, status) in [(10, 200), (20, 200), (5, 503)] {
            record.add(Sample {
                phase: 0,
                intended: Duration::ZERO,
                begun: Duration::ZERO,
                ended: Duration::from_millis(ms),
                outcome: Outcome::Answered(status, 7),
                sent: 3,
            });
        }
        let look = |cpu_seconds, rss_bytes| Look { cpu_seconds, rss_bytes };
        let looks = vec![(Duration::ZERO, look(1.0, 10)), (second, look(1.5, 20))];
        let load = Load::Closed { concurrency: 2, lasts: second };
        let run = Finished { load, phases: vec![(Duration::ZERO, second)], record, looks };
        let report = Report::new(&run, Some(Duration::from_millis(15)));
        let json = serde_json::to_value(&report).unwrap();
        let phase = &json["phases"][0];
        assert_eq!(phase["good_per_second"], 2.0);
        assert_eq!(phase["offered_per_second"], 3.0);
        assert_eq!(phase["statuses"]["503"], 1);
        assert_eq!(phase["refused"]["count"], 1);
        assert_eq!((&phase["over_slo"], &json["seconds"][0]["over_slo"]), (&1.into(), &1.into()));
        assert_eq!(phase["bytes_received"], 21);
        assert_eq!(phase["server"]["cpu_seconds_per_good_answer"], 0.25);
        assert_eq!(phase["server"]["rss_max_bytes"], 20);
        assert!((phase["ok"]["max"].as_f64().unwrap() - 20.0).abs() < 0.1);
        let table = report.table();
        assert!(table.contains("2 at a time") && table.contains("1 answered later"), "{table}");
        let without = serde_json::to_value(Report::new(&run, None)).unwrap();
        assert!(without["phases"][0].get("over_slo").is_none());
    }
}
