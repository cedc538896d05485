//! Whether a candidate keeps a gate.
//!
//! Breached needs proof and no minimum: `alpha` bounds the chance that a candidate that keeps the
//! gate is ever called a breach, however often it is looked at. Ok needs the minimum and a figure
//! that looks right, no proof: a rollout has to go on at some point.

use serde::Serialize;

use super::words::{p, percent, seconds, short, signed};
use super::{
    Contrast, Counts, Gate, LatencyHistogram, Limit, MeanDifference, Metric, Moments,
    ProportionDifference, boundary, slower_than, slower_than_ratio,
};

/// What is known of an arm.
#[derive(Clone, Debug, Default)]
pub struct ArmFigures {
    /// Requests, and those that failed.
    pub requests: Counts,
    /// How long they took.
    pub latency: LatencyHistogram,
    /// Answers that were judged, and those that were right.
    pub accuracy: Counts,
    /// Answers that were compared, and those that were the same.
    pub agreement: Counts,
    /// Rewards.
    pub reward: Moments,
}

/// Where a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// Too few samples, or outside without proof.
    Waiting,
    /// Enough samples, and within.
    Ok,
    /// Proven to be outside.
    Breached,
}

/// A gate looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// Where it stands.
    pub state: GateState,
    /// The candidate's figure: a share, seconds or a mean.
    pub candidate: Option<f64>,
    /// The baseline's.
    pub baseline: Option<f64>,
    /// Samples of the candidate, or of the arm that has fewer where both count.
    pub samples: u64,
    /// Always valid p-value of "the candidate keeps the gate".
    pub p_value: f64,
    /// For people.
    pub detail: String,
}

/// Both arms' figures as one metric sees them.
struct Reading {
    candidate: Option<f64>,
    baseline: Option<f64>,
    samples: [u64; 2],
    p_value: f64,
}

impl Gate {
    /// Looks at both arms. Of several gates each gets its part of the alpha there is.
    pub fn judge(
        &self,
        candidate: &ArmFigures,
        baseline: &ArmFigures,
        min_samples: u64,
        alpha: f64,
    ) -> Judgement {
        let reading = self.read(candidate, baseline);
        let [n, m] = reading.samples;
        let samples = if self.is_relative() { n.min(m) } else { n };
        let within = self.within(&reading);
        let state = if reading.p_value <= alpha {
            GateState::Breached
        } else if samples >= min_samples && within == Some(true) {
            GateState::Ok
        } else {
            GateState::Waiting
        };
        let mut detail = self.figures(&reading);
        match state {
            GateState::Breached => detail += &format!("; breached ({})", p(reading.p_value)),
            GateState::Waiting if samples < min_samples => {
                detail += &format!("; {samples} of {min_samples} samples so far");
            }
            GateState::Waiting if within.is_none() => {}
            GateState::Waiting => {
                detail += &format!("; outside, but not proven ({})", p(reading.p_value));
            }
            GateState::Ok => {}
        }
        let Reading { candidate, baseline, p_value, .. } = reading;
        Judgement { state, candidate, baseline, samples, p_value, detail }
    }

    fn read(&self, c: &ArmFigures, b: &ArmFigures) -> Reading {
        match self.metric() {
            Metric::ErrorRate => self.read_share(c.requests, b.requests, false),
            Metric::Accuracy => self.read_share(c.accuracy, b.accuracy, true),
            Metric::Agreement => self.read_share(c.agreement, b.agreement, true),
            Metric::Latency(q) => self.read_latency(&c.latency, &b.latency, q),
            Metric::Reward => self.read_reward(c.reward, b.reward),
        }
    }

    fn read_share(&self, c: Counts, b: Counts, high: bool) -> Reading {
        let difference = ProportionDifference::new(c, b);
        let p_value = match (self.limit(), high) {
            (Limit::Share(most), false) => c.p_above(most),
            (Limit::Share(least), true) => c.p_below(least),
            (Limit::Points(most), false) => difference.p_above(most),
            (Limit::Points(least), true) => difference.p_below(least),
            (Limit::Times(ratio), false) => p_above_ratio(c, b, ratio),
            _ => 1.0,
        };
        Reading { candidate: c.rate(), baseline: b.rate(), samples: [c.n, b.n], p_value }
    }

    fn read_latency(&self, c: &LatencyHistogram, b: &LatencyHistogram, q: f64) -> Reading {
        let p_value = match self.limit() {
            Limit::Seconds(most) => slower_than(c, q, most).p_value,
            Limit::Times(ratio) => slower_than_ratio(c, b, q, ratio).p_value,
            _ => 1.0,
        };
        let samples = [c.count(), b.count()];
        Reading { candidate: c.quantile(q), baseline: b.quantile(q), samples, p_value }
    }

    fn read_reward(&self, c: Moments, b: Moments) -> Reading {
        let p_value = match self.limit() {
            Limit::Value(least) => c.p_below(least),
            Limit::Change(least) => MeanDifference::new(c, b).p_below(least),
            _ => 1.0,
        };
        Reading { candidate: c.mean(), baseline: b.mean(), samples: [c.n, b.n], p_value }
    }

    /// Whether the figures seen are within; none if there is nothing to see.
    fn within(&self, reading: &Reading) -> Option<bool> {
        let candidate = reading.candidate?;
        let bound = match self.limit() {
            Limit::Share(x) | Limit::Seconds(x) | Limit::Value(x) => x,
            Limit::Points(d) | Limit::Change(d) => reading.baseline? + d,
            Limit::Times(ratio) => reading.baseline? * ratio,
        };
        let low = matches!(self.metric(), Metric::ErrorRate | Metric::Latency(_));
        // What is equal on paper may differ by rounding.
        let hair = 1e-9 * bound.abs().max(1e-3);
        Some(if low { candidate <= bound + hair } else { candidate >= bound - hair })
    }

    fn figures(&self, reading: &Reading) -> String {
        let (name, show): (String, fn(f64) -> String) = match self.metric() {
            Metric::ErrorRate => ("error rate".to_owned(), percent),
            Metric::Accuracy => ("accuracy".to_owned(), percent),
            Metric::Agreement => ("agreement".to_owned(), percent),
            Metric::Latency(q) => (format!("p{}", short_percent(q)), seconds),
            Metric::Reward => ("reward".to_owned(), short),
        };
        let Some(candidate) = reading.candidate else { return format!("no {name} yet") };
        let low = matches!(self.metric(), Metric::ErrorRate | Metric::Latency(_));
        let of = if low { "of at most" } else { "of at least" };
        let (mine, limit) = (show(candidate), self.limit_text());
        if !self.is_relative() {
            return format!("{name} {mine} {of} {limit}");
        }
        let Some(baseline) = reading.baseline else {
            return format!("{name} {mine}, nothing to compare it to yet");
        };
        let relation = match self.limit() {
            Limit::Times(_) if baseline > 0.0 => format!("{:.2}x", candidate / baseline),
            Limit::Times(_) => "more than nothing".to_owned(),
            Limit::Points(_) => format!("{}pp", signed((candidate - baseline) * 100.0)),
            _ => signed(candidate - baseline),
        };
        format!("{name} {mine} against {}: {relation} {of} {limit}", show(baseline))
    }
}

/// "Share at most `ratio` times another": with half of alpha each, some `t` is proven to be above
/// the baseline's share, and the candidate's to be above `ratio * t`.
fn p_above_ratio(c: Counts, b: Counts, ratio: f64) -> f64 {
    let (Some(low), high) = (b.rate(), (1.0 / ratio).min(1.0)) else { return 1.0 };
    if low >= high {
        return 1.0;
    }
    let proof = |t: f64| [b.p_below(t), c.p_above(ratio * t)];
    // The first falls, the second rises; where they cross their greater one is least.
    let crossing = boundary(low, high, |t| proof(t)[0] > proof(t)[1]);
    let [bounded, above] = proof(crossing);
    (2.0 * bounded.max(above)).min(1.0)
}

fn short_percent(q: f64) -> String {
    // One digit more than any quantile in use has, to hide rounding.
    let text = format!("{:.6}", q * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
