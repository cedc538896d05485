//! Statistics that stay right however often they are looked at. Pure: no clock, no IO.
//!
//! A fixed-sample test that is looked at after each request raises a false alarm sooner or later;
//! rollouts and dashboards look all the time. So every test here is an *e-process*: a figure that
//! under the null hypothesis starts at 1 and is a fair or losing game from there. Ville's
//! inequality (1939) says that such a game ever reaches `1/alpha` with a chance of at most
//! `alpha`, so one may look after every observation and stop whenever one likes. `1/e` is an
//! always valid p-value; all values a test does not reject form an always valid interval.
//!
//! | module | question | game | holds |
//! |---|---|---|---|
//! | [`proportion`] | one share | beta-binomial mixture | exactly |
//! | [`difference`] | two shares | two such mixtures over the best explanation; normal mixture of the likelihood ratio | exactly; asymptotically once counts are not thin |
//! | [`mean`] | one mean, two means | normal mixture of the t statistic | for normal rewards exactly, else asymptotically from 100 on |
//! | [`quantile`], [`slower`] | a latency quantile, two | shares above thresholds | exactly |
//! | [`multinomial`] | is traffic split as it should be | Dirichlet-multinomial mixture | exactly |
//!
//! [`verdict`] and [`gate`] put these to work for experiments and rollouts.
//!
//! What the promise rests on: observations are independent (count users, not requests, if a user
//! asks many times), the start of the counting was fixed beforehand (a window that slides makes
//! new games without end), and arms run at the same time, so that both see the same drift.
//!
//! - Ville 1939, Étude critique de la notion de collectif.
//! - Robbins 1970, Statistical methods related to the law of the iterated logarithm.
//! - Wasserman, Ramdas, Balakrishnan 2020, Universal inference.
//! - Howard, Ramdas, McAuliffe, Sekhon 2021, Time-uniform, nonparametric, nonasymptotic
//!   confidence sequences.
//! - Howard, Ramdas 2022, Sequential estimation of quantiles with applications to A/B testing and
//!   best-arm identification.
//! - Johari, Koomen, Pekelis, Walsh 2022, Always valid inference: continuous monitoring of A/B
//!   tests.
//! - Lindon, Malek 2022, Anytime-valid inference for multinomial count data.
//! - Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024, Time-uniform central limit theory and
//!   asymptotic confidence sequences.
//! - Wang, Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with
//!   unknown variance.

pub mod contrast;
pub mod difference;
pub mod gate;
pub mod judge;
pub mod mean;
pub mod multinomial;
mod normal;
pub mod proportion;
pub mod quantile;
pub mod slower;
pub mod verdict;
mod words;

#[cfg(test)]
pub(crate) mod sim;

pub use contrast::Contrast;
pub use difference::ProportionDifference;
pub use gate::{Gate, GateError, Limit, Metric};
pub use judge::{ArmFigures, GateState, Judgement};
pub use mean::{MeanDifference, Moments};
pub use multinomial::{SampleRatio, sample_ratio};
pub use proportion::Counts;
pub use quantile::{AtomicLatency, LatencyHistogram};
pub use slower::{SlowerEvidence, slower_than, slower_than_ratio};
pub use verdict::{Arms, Better, Comparison, Question, Verdict, compare};

/// Lower and upper end.
pub type Interval = [f64; 2];

/// The always valid p-value of an e-process at `ln_e`.
fn p_of(ln_e: f64) -> f64 {
    (-ln_e).exp().min(1.0)
}

/// Where `inside` stops to hold between a value for which it does and one for which it does not.
fn boundary(mut inside: f64, mut outside: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..100 {
        let middle = f64::midpoint(inside, outside);
        if middle == inside || middle == outside {
            break;
        }
        if holds(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    // The outer one, so that rounding never makes an interval too short.
    outside
}
