//! What the arms of a model's traffic show: figures with intervals, comparisons, and a verdict in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::figures::Window;
use crate::stats::{
    ArmFigures, Arms, Better, Comparison, Counts, Moments, Question, SampleRatio, Verdict, compare,
    sample_ratio,
};

/// The chance of ever saying something wrong.
const ALPHA: f64 = 0.05;
/// Samples of each arm before anything is said.
const MIN_SAMPLES: u64 = 100;
/// Shares are found wrong only when this is very sure: nothing can be trusted then.
const RATIO_ALPHA: f64 = 0.001;

/// What is asked of an experiment.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// What the others are compared to; without it, the arm with most traffic.
    pub baseline: Option<u64>,
    /// The least difference worth having; 0.01 for shares and 0.0 for rewards unless said.
    pub min_effect: Option<f64>,
    /// `accuracy`, `success` or `reward`; without it, the first of which there is something to tell.
    pub metric: Option<Metric>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Answers that feedback found right.
    Accuracy,
    /// Mean reward of feedback.
    Reward,
    /// Requests answered without an error.
    Success,
}

/// What an experiment shows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Experiment {
    /// The model.
    pub model: String,
    /// What is compared.
    pub metric: Metric,
    /// The least difference worth having.
    pub min_effect: f64,
    /// The chance of ever saying something wrong.
    pub alpha: f64,
    /// The revision that made these versions the arms; 0 for what the files say.
    pub since_revision: u64,
    /// Seconds since then.
    pub seconds: f64,
    /// The arms.
    pub arms: Vec<ArmReport>,
    /// Each other arm against the baseline.
    pub comparisons: Vec<Compared>,
    /// Whether the requests are split as the weights say.
    pub sample_ratio: RatioReport,
    /// What to do, in words.
    pub verdict: String,
}

/// An arm.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArmReport {
    /// The version.
    pub version: u64,
    /// Of 10,000.
    pub weight: u32,
    /// Requests it answered.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// How long they took.
    pub latency_ms: Latency,
    /// Pieces of feedback about it, or requests where success is compared.
    pub samples: u64,
    /// What is compared: a share or a mean.
    pub mean: Option<f64>,
    /// Where that lies, always valid.
    #[schema(value_type = Option<Vec<f64>>)]
    pub interval: Option<[f64; 2]>,
}

/// Quantiles.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Latency {
    /// Half are faster.
    pub p50: Option<f64>,
    /// Nine of ten are.
    pub p90: Option<f64>,
    /// 99 of a hundred are.
    pub p99: Option<f64>,
}

/// An arm against the baseline.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Compared {
    /// What it is compared to.
    pub baseline: u64,
    /// The arm.
    pub version: u64,
    /// The arm's less the baseline's.
    pub difference: Option<f64>,
    /// Where that lies, always valid.
    #[schema(value_type = Option<Vec<f64>>)]
    pub interval: Option<[f64; 2]>,
    /// Always valid: it may be looked at as often as one likes.
    pub p_value: f64,
    /// `keep_going`, `better`, `worse` or `no_difference`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// About how many more samples of both arms it takes if all goes on as it is.
    pub more_samples: Option<u64>,
    /// For people.
    pub words: String,
}

/// Whether the requests are split as the weights say.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RatioReport {
    /// Always valid.
    pub p_value: f64,
    /// Requests since the weights changed.
    pub requests: u64,
    /// Whether nothing speaks against it.
    pub ok: bool,
    /// For people.
    pub words: String,
}

impl Experiment {
    /// Compares what the arms did since they are the arms; `weights` are the shares now, and `ratio` what
    /// they did since these shares hold. `sticky` traffic has no independent requests.
    pub fn of(
        model: &str,
        asked: &Asked,
        window: &Window,
        ratio: &Window,
        weights: &BTreeMap<u64, u32>,
        sticky: bool,
    ) -> Experiment {
        let none = ArmFigures::default();
        let figures = |v: &u64| window.arms.get(v).unwrap_or(&none);
        let metric = asked.metric.unwrap_or_else(|| {
            let any = |n: fn(&ArmFigures) -> u64| weights.keys().any(|v| n(figures(v)) > 0);
            match () {
                () if any(|f| f.accuracy.n) => Metric::Accuracy,
                () if any(|f| f.reward.n) => Metric::Reward,
                () => Metric::Success,
            }
        });
        let least = if metric == Metric::Reward { 0.0 } else { 0.01 };
        let min_effect = asked.min_effect.unwrap_or(least);
        let most = weights.iter().max_by_key(|(v, w)| (**w, std::cmp::Reverse(**v)));
        let baseline = asked.baseline.or(most.map(|(v, _)| *v)).unwrap_or_default();
        let others = weights.keys().filter(|v| **v != baseline);
        let alpha = ALPHA / (weights.len().max(2) - 1) as f64;
        let comparisons: Vec<Compared> = others
            .map(|version| {
                let question = Question {
                    candidate: *version,
                    baseline,
                    min_effect,
                    alpha,
                    min_samples: MIN_SAMPLES,
                    better: Better::Higher,
                };
                let arms = metric.arms(figures(version), figures(&baseline));
                Compared::of(compare(&arms, &question), baseline, *version)
            })
            .collect();
        let arms = weights.iter().map(|(v, w)| ArmReport::of(*v, *w, metric, figures(v)));
        let sample_ratio = RatioReport::of(ratio, weights, sticky);
        let mut words: Vec<&str> = comparisons.iter().map(|c| c.words.as_str()).collect();
        if words.is_empty() {
            words.push("there is one arm only, and nothing to compare");
        }
        if !sample_ratio.ok {
            words = vec![&sample_ratio.words];
        }
        let verdict = words.join("; ");
        Experiment {
            model: model.to_owned(),
            metric,
            min_effect,
            alpha: ALPHA,
            since_revision: window.revision,
            seconds: window.length.as_secs_f64(),
            arms: arms.collect(),
            comparisons,
            sample_ratio,
            verdict,
        }
    }
}

impl Metric {
    fn success(figures: &ArmFigures) -> Counts {
        let Counts { n, k } = figures.requests;
        Counts::new(n, n - k)
    }

    fn arms(self, candidate: &ArmFigures, baseline: &ArmFigures) -> Arms {
        let proportions = |candidate, baseline| Arms::Proportions { candidate, baseline };
        match self {
            Metric::Accuracy => proportions(candidate.accuracy, baseline.accuracy),
            Metric::Success => proportions(Metric::success(candidate), Metric::success(baseline)),
            Metric::Reward => {
                Arms::Means { candidate: candidate.reward, baseline: baseline.reward }
            }
        }
    }

    /// Samples, mean, interval.
    fn told(self, figures: &ArmFigures) -> (u64, Option<f64>, Option<[f64; 2]>) {
        let share = |c: Counts| (c.n, c.rate(), (c.n > 0).then(|| c.interval(ALPHA)));
        match self {
            Metric::Accuracy => share(figures.accuracy),
            Metric::Success => share(Metric::success(figures)),
            Metric::Reward => {
                let reward: Moments = figures.reward;
                (reward.n, reward.mean(), reward.interval(ALPHA))
            }
        }
    }
}

impl ArmReport {
    fn of(version: u64, weight: u32, metric: Metric, figures: &ArmFigures) -> ArmReport {
        let (samples, mean, interval) = metric.told(figures);
        let ms = |q| figures.latency.quantile(q).map(|seconds| seconds * 1e3);
        ArmReport {
            version,
            weight,
            requests: figures.requests.n,
            errors: figures.requests.k,
            latency_ms: Latency { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99) },
            samples,
            mean,
            interval,
        }
    }
}

impl Compared {
    fn of(comparison: Comparison, baseline: u64, version: u64) -> Compared {
        let Comparison { verdict, difference, interval, p_value, more_samples, words } = comparison;
        Compared { baseline, version, difference, interval, p_value, verdict, more_samples, words }
    }
}

impl RatioReport {
    fn of(window: &Window, weights: &BTreeMap<u64, u32>, sticky: bool) -> RatioReport {
        let count = |v: &u64| window.arms.get(v).map_or(0, |f| f.requests.n);
        let counts: Vec<_> = weights.iter().map(|(v, w)| (count(v), f64::from(*w))).collect();
        let SampleRatio { p_value, n } = sample_ratio(&counts);
        if sticky {
            let words = "the traffic is sticky, so one user's requests go together and their shares \
                         can't be tested";
            return RatioReport { p_value: 1.0, requests: n, ok: true, words: words.to_owned() };
        }
        let ok = p_value > RATIO_ALPHA;
        let words = if ok {
            "the requests are split as the weights say".to_owned()
        } else {
            format!(
                "the requests are not split as the weights say (p = {p_value:.1e} over {n}): some arm \
                 loses requests, and no comparison can be trusted"
            )
        };
        RatioReport { p_value, requests: n, ok, words }
    }
}
