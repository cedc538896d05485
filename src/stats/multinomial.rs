//! Is traffic split as it should be? Exact and always valid.
//!
//! Dirichlet-multinomial mixture against the expected shares (Lindon, Malek 2022, Anytime-valid
//! inference for multinomial count data, section 2): a prior around them, over themselves. A
//! mismatch means that arms lose requests unequally, and then no comparison can be trusted. With
//! sticky traffic, count keys, not requests: one busy user's requests are not independent.

use libm::lgamma;
use serde::Serialize;

use super::p_of;
use super::words::p;

/// What the prior is worth in requests: large enough to see a shift of a point soon, small enough
/// to see an arm that gets nothing within some tens.
const WORTH: f64 = 200.0;

/// How strongly counts speak against the shares expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleRatio {
    /// Always valid p-value of "the shares are as expected".
    pub p_value: f64,
    /// All that was counted.
    pub n: u64,
}

impl SampleRatio {
    /// Whether there is no proof of a mismatch.
    pub fn is_ok(&self, alpha: f64) -> bool {
        self.p_value > alpha
    }

    /// For people.
    pub fn words(&self, alpha: f64) -> String {
        let (n, p) = (self.n, p(self.p_value));
        if self.is_ok(alpha) {
            format!("traffic is split as it should be, as far as {n} samples can tell ({p})")
        } else {
            format!(
                "traffic is not split as it should be, so the arms cannot be compared: an arm \
                 loses samples or gets those of another ({p}; n = {n})"
            )
        }
    }
}

/// Compares counts to shares; these need not sum to 1. An arm whose share is zero must not get
/// anything; with no shares at all, there is nothing to compare.
pub fn sample_ratio(counts_and_shares: &[(u64, f64)]) -> SampleRatio {
    let n: u64 = counts_and_shares.iter().map(|(count, _)| count).sum();
    let sane = |share: f64| if share.is_finite() { share.max(0.0) } else { 0.0 };
    let total: f64 = counts_and_shares.iter().map(|(_, share)| sane(*share)).sum();
    if total <= 0.0 {
        return SampleRatio { p_value: 1.0, n };
    }
    let mut ln_e = lgamma(WORTH) - lgamma(WORTH + n as f64);
    for (count, share) in counts_and_shares {
        let (share, count) = (sane(*share) / total, *count as f64);
        if share > 0.0 {
            let prior = WORTH * share;
            ln_e += lgamma(prior + count) - lgamma(prior) - count * share.ln();
        } else if count > 0.0 {
            return SampleRatio { p_value: 0.0, n };
        }
    }
    SampleRatio { p_value: p_of(ln_e), n }
}

#[cfg(test)]
#[path = "multinomial_tests.rs"]
mod tests;
