//! The normal mixture behind all asymptotic tests: effects are weighed by a normal prior around
//! the null (Robbins 1970; the mSPRT of Johari, Koomen, Pekelis, Walsh 2022, section 4.2; the
//! asymptotic confidence sequence of Waudby-Smith et al. 2024, theorem 2.2).
//!
//! `r` is how much more precise the data are than the prior. The prior is a fixed multiple of one
//! observation's spread, so `r` grows with the sample and is known without looking at outcomes.

/// Observations an arm needs before anything asymptotic is claimed about it.
pub(super) const MIN_ARM: u64 = 100;

/// The interval is at its tightest, compared to a fixed-sample one, at some eight times as many
/// observations as the prior is worth.
const PRIOR_WORTH: f64 = 100.0;

/// Precision for one arm of `n`.
pub(super) fn precision_one(n: u64) -> f64 {
    n as f64 / PRIOR_WORTH
}

/// Precision for the difference of two arms; the smaller arm tells.
pub(super) fn precision_two(a: u64, b: u64) -> f64 {
    let (a, b) = (a as f64, b as f64);
    if a + b == 0.0 { 0.0 } else { 2.0 * a * b / (a + b) / PRIOR_WORTH }
}

/// Log e-value where the null is `gain` below the best explanation in log likelihood.
pub(super) fn ln_e(gain: f64, r: f64) -> f64 {
    r / (1.0 + r) * gain - 0.5 * r.ln_1p()
}

/// The gain at which [`ln_e`] reaches `1/alpha`.
pub(super) fn gain_needed(r: f64, alpha: f64) -> f64 {
    (1.0 + 1.0 / r) * (0.5 * r.ln_1p() - alpha.ln())
}

/// Log e-value of a t statistic with `df` degrees of freedom: as [`ln_e`], but the spread is
/// estimated too (Wang, Ramdas 2023, the t-test martingale with a Gaussian mixture; exact for
/// one normal sample).
pub(super) fn ln_e_t(t: f64, df: f64, r: f64) -> f64 {
    let x = t * t / df;
    // Nearly constant rewards: x may be infinite, where the ratio tends to 1 + r.
    let gain = if x.is_finite() { x.ln_1p() - (x / (1.0 + r)).ln_1p() } else { r.ln_1p() };
    f64::midpoint(df, 1.0) * gain - 0.5 * r.ln_1p()
}

/// The t at which [`ln_e_t`] reaches `1/alpha`; infinite if the sample is too small for any to.
pub(super) fn t_needed(df: f64, r: f64, alpha: f64) -> f64 {
    let e = ((0.5 * r.ln_1p() - alpha.ln()) * 2.0 / (df + 1.0)).exp();
    let room = 1.0 - e / (1.0 + r);
    if room > 0.0 { ((e - 1.0) / room * df).sqrt() } else { f64::INFINITY }
}
