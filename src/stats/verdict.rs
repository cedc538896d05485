//! What an experiment says, in words.

use serde::Serialize;

use super::words::{plain, short};
use super::{Contrast, Counts, Interval, MeanDifference, Moments, ProportionDifference};

/// What was measured in both arms.
#[derive(Clone, Copy, Debug)]
pub enum Arms {
    /// Successes of trials.
    Proportions {
        /// Of the version that is tried.
        candidate: Counts,
        /// Of the one it is compared to.
        baseline: Counts,
    },
    /// Rewards.
    Means {
        /// Of the version that is tried.
        candidate: Moments,
        /// Of the one it is compared to.
        baseline: Moments,
    },
}

/// Which way is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Better {
    /// Accuracy, rewards.
    #[default]
    Higher,
    /// Error rates.
    Lower,
}

/// What is asked of the data.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The version that is tried.
    pub candidate: u64,
    /// The version it is compared to.
    pub baseline: u64,
    /// The least difference worth having.
    pub min_effect: f64,
    /// The chance of ever saying something wrong.
    pub alpha: f64,
    /// Samples each arm needs before anything is said.
    pub min_samples: u64,
    /// Which way is up.
    pub better: Better,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is proven yet.
    KeepGoing,
    /// The candidate is.
    Better,
    /// The candidate is.
    Worse,
    /// Whatever difference there is, it is less than worth having.
    NoDifference,
}

/// Two arms compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What to do.
    pub verdict: Verdict,
    /// Candidate minus baseline.
    pub difference: Option<f64>,
    /// Of the difference, always valid.
    pub interval: Option<Interval>,
    /// Always valid p-value of "there is no difference".
    pub p_value: f64,
    /// About how many more samples, of both arms together, it takes if all goes on as it is.
    pub more_samples: Option<u64>,
    /// For people.
    pub words: String,
}

/// Compares. A difference that is proven to be smaller than worth having is none, even where its
/// sign is certain.
pub fn compare(arms: &Arms, question: &Question) -> Comparison {
    let [n, m] = arms.sizes();
    let contrast = arms.contrast();
    let difference = contrast.estimate();
    let interval = contrast.interval(question.alpha);
    let enough = n.min(m) >= question.min_samples;
    let verdict = match interval.filter(|_| enough) {
        Some(interval) => verdict(interval, question),
        None => Verdict::KeepGoing,
    };
    let open = verdict == Verdict::KeepGoing;
    let more_samples = if open { more(arms, question) } else { None };
    let mut comparison = Comparison {
        verdict,
        difference,
        interval,
        p_value: contrast.p_value(0.0),
        more_samples,
        words: String::new(),
    };
    comparison.words = words(&comparison, arms, question);
    comparison
}

fn verdict([low, high]: Interval, question: &Question) -> Verdict {
    let up = question.better == Better::Higher;
    if low > -question.min_effect && high < question.min_effect {
        Verdict::NoDifference
    } else if low > 0.0 {
        if up { Verdict::Better } else { Verdict::Worse }
    } else if high < 0.0 {
        if up { Verdict::Worse } else { Verdict::Better }
    } else {
        Verdict::KeepGoing
    }
}

impl Arms {
    fn contrast(&self) -> Box<dyn Contrast> {
        match *self {
            Arms::Proportions { candidate, baseline } => {
                Box::new(ProportionDifference::new(candidate, baseline))
            }
            Arms::Means { candidate, baseline } => {
                Box::new(MeanDifference::new(candidate, baseline))
            }
        }
    }

    fn sizes(&self) -> [u64; 2] {
        match self {
            Arms::Proportions { candidate, baseline } => [candidate.n, baseline.n],
            Arms::Means { candidate, baseline } => [candidate.n, baseline.n],
        }
    }
}

/// Until the interval is short enough to leave zero out, or to lie within what is not worth
/// having, whichever comes first; and until each arm has its minimum.
fn more(arms: &Arms, question: &Question) -> Option<u64> {
    let contrast = arms.contrast();
    let seen = contrast.estimate()?.abs();
    let target = seen.max(question.min_effect - seen);
    let fits = |factor: f64| contrast.projected(factor, question.alpha).is_some_and(|w| w < target);
    let mut most = 1.0;
    while !fits(most) {
        most *= 2.0;
        if most > 1e9 {
            return None;
        }
    }
    let least = if fits(1.0) { 1.0 } else { super::boundary(most, most / 2.0, fits) };
    let [n, m] = arms.sizes();
    let factor = least.max(question.min_samples as f64 / n.min(m).max(1) as f64);
    // Even where the projection says that it should be over, it is not: at least one more.
    Some((((factor - 1.0) * (n + m) as f64).ceil() as u64).max(1))
}

fn words(comparison: &Comparison, arms: &Arms, question: &Question) -> String {
    let (scale, unit) = match arms {
        Arms::Proportions { .. } => (100.0, " points"),
        Arms::Means { .. } => (1.0, ""),
    };
    let [n, m] = arms.sizes();
    let (one, other) = (question.candidate, question.baseline);
    let Some(difference) = comparison.difference else {
        return format!(
            "nothing to compare yet between version {one} and version {other} (n = {n} and {m})"
        );
    };
    let negative = difference < 0.0;
    let size = format!("{}{unit}", short(difference.abs() * scale));
    let sure = plain(100.0 * (1.0 - question.alpha));
    let based = match comparison.interval {
        // Told in the direction the sentence speaks of.
        Some([low, high]) => {
            let [low, high] = if negative { [-high, -low] } else { [low, high] };
            let (low, high) = (short(low * scale), short(high * scale));
            format!("({sure} % interval {low} to {high}, always valid; n = {n} and {m})")
        }
        None => format!("(n = {n} and {m})"),
    };
    let way = if negative { "below" } else { "above" };
    match comparison.verdict {
        Verdict::Better => {
            format!("version {one} is better than version {other} by {size} {based}")
        }
        Verdict::Worse => format!("version {one} is worse than version {other} by {size} {based}"),
        Verdict::NoDifference => {
            let least = plain(question.min_effect * scale);
            let unit = if least == "1" { unit.trim_end_matches('s') } else { unit };
            format!(
                "version {one} does not differ from version {other} by as much as \
                 {least}{unit}: it is {size} {way} {based}"
            )
        }
        Verdict::KeepGoing => {
            let more = match comparison.more_samples {
                Some(more) => format!("about {} more samples should tell", round(more)),
                None => "how many more samples it takes cannot be told yet".to_owned(),
            };
            format!(
                "nothing is proven yet: version {one} is {size} {way} version {other} {based}; \
                 {more}"
            )
        }
    }
}

/// To two digits: an estimate should not look like more.
fn round(n: u64) -> u64 {
    let unit = 10_u64.saturating_pow(n.max(1).ilog10().saturating_sub(1));
    n.div_ceil(unit).saturating_mul(unit)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
