//! Gates of a rollout as people write them: `error_rate<=0.5%`, `p99<=1.2x`, `accuracy>=-0.5pp`.
//!
//! A limit with a sign, or with `x`, is relative to the baseline; any other is absolute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Requests that failed.
    ErrorRate,
    /// A quantile of the latencies, between 0 and 1.
    Latency(f64),
    /// Answers that were right.
    Accuracy,
    /// Answers that were the baseline's too.
    Agreement,
    /// Mean reward.
    Reward,
}

/// How far it may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A share: `0.5%` is 0.005.
    Share(f64),
    /// A share above the baseline's: `+0.5pp` is 0.005, `-0.5pp` is -0.005.
    Points(f64),
    /// A multiple of the baseline's: `1.2x`.
    Times(f64),
    /// Seconds: `30ms` is 0.03.
    Seconds(f64),
    /// A plain figure: `0.4`.
    Value(f64),
    /// A plain figure above the baseline's: `-0.1`.
    Change(f64),
}

/// A bound that a candidate must keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Gate {
    metric: Metric,
    limit: Limit,
    text: String,
}

/// What is wrong with a gate's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Neither `<=` nor `>=`.
    #[error(
        "`{0}` has neither <= nor >=: a gate looks like error_rate<=0.5%, p99<=1.2x or \
         accuracy>=-0.5pp"
    )]
    NoComparison(String),
    /// No such metric.
    #[error(
        "`{0}` is no metric: valid are error_rate, p50, p99, p99.9 and other quantiles, accuracy, \
         agreement, reward"
    )]
    Metric(String),
    /// The wrong way round.
    #[error("{metric} is better {better}: write {metric}{valid}…")]
    Direction {
        /// The metric as written.
        metric: String,
        /// Which way is better.
        better: &'static str,
        /// What to write instead.
        valid: &'static str,
    },
    /// A limit the metric has no use for.
    #[error("`{limit}` is no limit for {metric}: valid are {valid}")]
    Limit {
        /// The metric as written.
        metric: String,
        /// The limit as written.
        limit: String,
        /// Those that are valid.
        valid: &'static str,
    },
    /// A figure that makes no sense.
    #[error("`{limit}` is out of range for {metric}: {valid}")]
    Range {
        /// The metric as written.
        metric: String,
        /// The limit as written.
        limit: String,
        /// The range.
        valid: &'static str,
    },
}

impl Gate {
    /// What it looks at.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How far that may go.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Whether the limit depends on the baseline.
    pub fn is_relative(&self) -> bool {
        matches!(self.limit, Limit::Points(_) | Limit::Times(_) | Limit::Change(_))
    }

    /// The limit as it was written.
    pub(super) fn limit_text(&self) -> &str {
        self.text.split_once('=').map_or("", |(_, limit)| limit)
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(s: &str) -> Result<Gate, GateError> {
        let text: String = s.chars().filter(|c| !c.is_whitespace()).collect();
        let at = text.find(['<', '>']).filter(|at| text[at + 1..].starts_with('='));
        let Some(at) = at else { return Err(GateError::NoComparison(text)) };
        let (name, operator, limit) = (&text[..at], &text[at..at + 2], &text[at + 2..]);
        let metric = metric(name).ok_or_else(|| GateError::Metric(name.to_owned()))?;
        let low = matches!(metric, Metric::ErrorRate | Metric::Latency(_));
        let (better, valid) = if low { ("low", "<=") } else { ("high", ">=") };
        if operator != valid {
            return Err(GateError::Direction { metric: name.to_owned(), better, valid });
        }
        let limit = read_limit(metric, name, limit)?;
        Ok(Gate { metric, limit, text })
    }
}

fn metric(name: &str) -> Option<Metric> {
    Some(match name {
        "error_rate" => Metric::ErrorRate,
        "accuracy" => Metric::Accuracy,
        "agreement" => Metric::Agreement,
        "reward" => Metric::Reward,
        _ => {
            let digits = name.strip_prefix('p')?;
            let percent = number(digits).filter(|_| !signed(digits))?;
            // Through its text, so that p99.9 is 0.999 and not a little more or less.
            let q = format!("{percent}e-2").parse().ok()?;
            Metric::Latency(Some(q).filter(|q| *q > 0.0 && *q < 1.0)?)
        }
    })
}

/// What a metric's limits look like.
fn valid_limits(metric: Metric) -> &'static str {
    match metric {
        Metric::ErrorRate => "a share (0.5%), signed points (+0.5pp), a multiple (1.5x)",
        Metric::Latency(_) => "a multiple (1.2x), a time (500us, 30ms, 1.5s)",
        Metric::Accuracy => "a share (90%), signed points (-0.5pp)",
        Metric::Agreement => "a share (97%)",
        Metric::Reward => "a figure (0.4), a signed change from the baseline's (-0.1)",
    }
}

fn read_limit(metric: Metric, name: &str, text: &str) -> Result<Limit, GateError> {
    let unsuitable = || GateError::Limit {
        metric: name.to_owned(),
        limit: text.to_owned(),
        valid: valid_limits(metric),
    };
    let unit_at = text.find(|c: char| c.is_alphabetic() || c == '%').unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let x = number(digits).ok_or_else(unsuitable)?;
    let limit = match (metric, unit, signed(digits)) {
        (Metric::ErrorRate | Metric::Accuracy | Metric::Agreement, "%", false) => {
            Limit::Share(x / 100.0)
        }
        (Metric::ErrorRate | Metric::Accuracy, "pp", true) => Limit::Points(x / 100.0),
        (Metric::ErrorRate | Metric::Latency(_), "x", false) => Limit::Times(x),
        (Metric::Latency(_), "us" | "µs", false) => Limit::Seconds(x / 1e6),
        (Metric::Latency(_), "ms", false) => Limit::Seconds(x / 1e3),
        (Metric::Latency(_), "s", false) => Limit::Seconds(x),
        (Metric::Reward, "", false) => Limit::Value(x),
        (Metric::Reward, "", true) => Limit::Change(x),
        _ => return Err(unsuitable()),
    };
    let problem = match limit {
        Limit::Share(p) if p > 1.0 => "a share is at most 100%",
        Limit::Points(d) if d.abs() > 1.0 => "a share changes by at most 100pp",
        Limit::Times(0.0) => "a multiple is above 0x",
        Limit::Seconds(0.0) => "a time is above 0",
        Limit::Seconds(s) if s > 900.0 => "latencies are told apart up to 900s",
        _ => return Ok(limit),
    };
    let (metric, limit) = (name.to_owned(), text.to_owned());
    Err(GateError::Range { metric, limit, valid: problem })
}

fn signed(digits: &str) -> bool {
    digits.starts_with(['+', '-'])
}

/// Digits with at most a sign and a point; not all that a float may be (`inf`, `1e9`).
fn number(digits: &str) -> Option<f64> {
    let plain = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    digits.parse().ok().filter(|x: &f64| plain && x.is_finite())
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Gate {
    type Error = GateError;

    fn try_from(text: String) -> Result<Gate, GateError> {
        text.parse()
    }
}

impl From<Gate> for String {
    fn from(gate: Gate) -> String {
        gate.text
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
