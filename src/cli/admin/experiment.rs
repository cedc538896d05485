//! `ocelli experiment`: what the versions that share a model's traffic show.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;

use super::bandit::Bandit;
use super::client::{Call, Client, of_model};
use super::connection::Connection;
use super::history::Changed;
use super::table::{Cell, Table, bad, figure, good, unsure};
use super::words::{clean, millis, number, or_dash, percent, span};
use super::{Failure, code, print, print_all, print_json, read};

#[derive(clap::Args)]
pub struct ExperimentArgs {
    /// The model
    model: String,
    /// What the others are compared to [default: the version with most of the traffic]
    #[arg(long, value_name = "VERSION")]
    baseline: Option<u64>,
    /// The least difference worth having [default: 0.01, and 0 for rewards]
    #[arg(long, value_name = "N", value_parser = effect)]
    min_effect: Option<f64>,
    /// What is compared [default: the first of which there is something to tell]
    #[arg(long, value_parser = ["accuracy", "reward", "success"])]
    metric: Option<String>,
    /// Have a bandit move the weights: min=5%,max=95%,interval=1m,metric=accuracy|success
    #[arg(
        long,
        value_name = "SETTINGS",
        value_parser = Bandit::parse,
        conflicts_with_all = ["baseline", "min_effect", "metric"]
    )]
    bandit: Option<Bandit>,
    /// Have no bandit move the weights any more
    #[arg(long, conflicts_with_all = ["bandit", "baseline", "min_effect", "metric"])]
    end_bandit: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &ExperimentArgs) -> Result<u8, Failure> {
    let client = args.connection.client()?;
    let (model, json) = (&args.model, args.connection.json);
    let path = of_model(model, "/bandit");
    if let Some(bandit) = &args.bandit {
        return change(&client, args, &Call::change(Method::POST, path, bandit.json()));
    }
    if args.end_bandit {
        return change(&client, args, &Call::delete(path));
    }
    let call = Call::get(of_model(model, &format!("/experiment{}", args.query())));
    if client.replicas().is_empty() {
        let (_, answer) = client.ask(&call)?;
        if json {
            print_json(&answer)?;
        } else {
            print(&read::<Experiment>(&answer)?.text())?;
        }
        return Ok(0);
    }
    let answers = client.each(|address| client.ask_at(address, &call));
    if json {
        print_all(&answers)?;
        return Ok(code(&answers));
    }
    let style = anstyle::Style::new().bold();
    let mut out = String::new();
    for (address, answer) in &answers {
        let text = match answer {
            Ok(answer) => read::<Experiment>(answer)?.text(),
            Err(refusal) => format!("{}\n", refusal.beside(address)),
        };
        // Writing to a String can't fail.
        let _ = writeln!(out, "{style}replica {address}{style:#}\n{text}");
    }
    out.push_str("The figures are each replica's own, unless the servers have --prometheus-url.\n");
    print(&out)?;
    Ok(code(&answers))
}

fn change(client: &Client, args: &ExperimentArgs, call: &Call) -> Result<u8, Failure> {
    let (at, answer): (_, Value) = client.ask(call)?;
    let words = read::<Changed>(&answer)?.text();
    let fan = client.spread(&at, &args.model, &answer["current"]);
    fan.print(answer, &words, args.connection.json)
}

impl ExperimentArgs {
    fn query(&self) -> String {
        let asked = [
            self.baseline.map(|version| format!("baseline={version}")),
            self.min_effect.map(|effect| format!("min_effect={effect}")),
            self.metric.as_ref().map(|metric| format!("metric={metric}")),
        ];
        let asked: Vec<_> = asked.into_iter().flatten().collect();
        if asked.is_empty() { String::new() } else { format!("?{}", asked.join("&")) }
    }
}

fn effect(text: &str) -> Result<f64, String> {
    let effect = text.parse().ok().filter(|effect: &f64| effect.is_finite() && *effect >= 0.0);
    effect.ok_or_else(|| "write a difference of 0 or more, such as 0.01 for a point".to_owned())
}

#[derive(Deserialize)]
struct Experiment {
    model: String,
    metric: String,
    min_effect: f64,
    since_revision: u64,
    #[serde(default)]
    seconds: f64,
    arms: Vec<Arm>,
    comparisons: Vec<Comparison>,
    sample_ratio: Ratio,
    verdict: String,
}

#[derive(Deserialize)]
struct Arm {
    version: u64,
    weight: u32,
    requests: u64,
    errors: u64,
    latency_ms: Latency,
    #[serde(default)]
    samples: u64,
    mean: Option<f64>,
    interval: Option<[f64; 2]>,
}

#[derive(Deserialize)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

#[derive(Deserialize)]
struct Comparison {
    baseline: u64,
    version: u64,
    difference: Option<f64>,
    interval: Option<[f64; 2]>,
    p_value: Option<f64>,
    verdict: String,
}

#[derive(Deserialize)]
struct Ratio {
    p_value: f64,
    #[serde(default)]
    requests: u64,
    ok: bool,
    words: String,
}

impl Experiment {
    fn text(&self) -> String {
        let (model, metric) = (clean(&self.model), clean(&self.metric));
        let (revision, gone) = (self.since_revision, span(self.seconds));
        let least = self.amount(self.min_effect);
        let mut out =
            format!("experiment on {model}: {metric}, differences from {least} on, since ");
        // Writing to a String can't fail.
        let _ = writeln!(out, "revision {revision} ({gone} ago)\n\n{}", self.arms(&metric));
        if !self.comparisons.is_empty() {
            let _ = writeln!(out, "{}", self.comparisons());
        }
        let Ratio { p_value, requests, ok, words } = &self.sample_ratio;
        let style = if *ok { anstyle::Style::new() } else { bad() };
        let (p, words) = (number(*p_value, 4), clean(words));
        let _ = writeln!(out, "shares   {style}{words}{style:#} (p {p}, {requests} requests)");
        let _ = writeln!(out, "verdict  {}", clean(&self.verdict));
        out
    }

    fn arms(&self, metric: &str) -> String {
        let mut table = Table::new([
            ">version",
            ">weight",
            ">requests",
            ">errors",
            ">p50",
            ">p90",
            ">p99",
            ">samples",
            metric,
        ]);
        for arm in &self.arms {
            let Latency { p50, p90, p99 } = arm.latency_ms;
            let interval = arm
                .interval
                .map(|[low, high]| format!(" ({} to {})", self.mean(low), self.mean(high)));
            let mean = or_dash(arm.mean, |mean| self.mean(mean));
            table.row([
                figure(arm.version),
                percent(f64::from(arm.weight) / 100.0).into(),
                figure(arm.requests),
                figure(arm.errors),
                or_dash(p50, millis).into(),
                or_dash(p90, millis).into(),
                or_dash(p99, millis).into(),
                figure(arm.samples),
                format!("{mean}{}", interval.unwrap_or_default()).into(),
            ]);
        }
        table.text()
    }

    fn comparisons(&self) -> String {
        let mut table =
            Table::new([">version", ">against", ">difference", "interval", ">p", "verdict"]);
        for compared in &self.comparisons {
            let style = match compared.verdict.as_str() {
                "better" => good(),
                "worse" => bad(),
                _ => unsure(),
            };
            let interval =
                |[low, high]: [f64; 2]| format!("{} to {}", self.amount(low), self.amount(high));
            table.row([
                figure(compared.version),
                figure(compared.baseline),
                or_dash(compared.difference, |d| self.amount(d)).into(),
                or_dash(compared.interval, interval).into(),
                or_dash(compared.p_value, |p| number(p, 4)).into(),
                Cell::styled(compared.verdict.replace('_', " "), style),
            ]);
        }
        table.text()
    }

    fn is_share(&self) -> bool {
        self.metric != "reward"
    }

    /// What an arm has.
    fn mean(&self, mean: f64) -> String {
        if self.is_share() { format!("{:.2}%", mean * 100.0) } else { number(mean, 4) }
    }

    /// How far arms are apart.
    fn amount(&self, difference: f64) -> String {
        if self.is_share() {
            format!("{} pp", number(difference * 100.0, 2))
        } else {
            number(difference, 4)
        }
    }
}

#[cfg(test)]
#[path = "experiment_tests.rs"]
mod tests;
