//! Who is let in: what can't be answered in time is refused at once, while its caller can still go elsewhere,
//! and takes no time from what can. Pure.

use std::time::Duration;

use serde::Deserialize;

/// What is aimed at before anything is known of how the prediction errs.
const FIRST: f64 = 0.85;
/// The least part of an objective that is aimed at, however often it was missed.
const TIGHTEST: f64 = 0.4;
/// How far one late answer tightens the aim.
const STEP: f64 = 0.01;

/// What a person wants of the time to an answer: `p99=50ms`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Slo {
    /// The share of the answers that keep the time, between 0 and 1.
    pub share: f64,
    /// The time.
    pub within: Duration,
}

/// The words of an [`Slo`] that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no objective; write p99=50ms: a quantile from p50 to p99.99, and a time above 0")]
pub struct SloError(String);

impl TryFrom<String> for Slo {
    type Error = SloError;

    fn try_from(text: String) -> Result<Slo, SloError> {
        text.parse()
    }
}

impl std::str::FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Slo, SloError> {
        let parse = || {
            let (quantile, time) = text.trim().split_once('=')?;
            let percent: f64 = quantile.trim().strip_prefix('p')?.parse().ok()?;
            let time = time.trim();
            let digits = time.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let unit = match time[digits..].trim() {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                _ => return None,
            };
            let seconds = time[..digits].parse::<f64>().ok()? * unit;
            let fits = (50.0..=99.99).contains(&percent) && seconds > 0.0 && seconds <= 3600.0;
            fits.then(|| Slo { share: percent / 100.0, within: Duration::from_secs_f64(seconds) })
        };
        parse().ok_or_else(|| SloError(text.to_owned()))
    }
}

impl Slo {
    /// The quantile as a person writes it: `p99`.
    pub fn quantile(&self) -> String {
        // 0.57 is a little less than 57 hundredths.
        format!("p{}", (self.share * 1e6).round() / 1e4)
    }
}

impl std::fmt::Display for Slo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}ms", self.quantile(), self.within.as_nanos() as f64 / 1e6)
    }
}

/// Which part of the objective is aimed at, so that the share holds which was asked for: the prediction errs,
/// and a late answer in a hundred is what p99 allows.
#[derive(Clone, Copy, Debug)]
pub struct Aim(f64);

impl Default for Aim {
    fn default() -> Aim {
        Aim(FIRST)
    }
}

impl Aim {
    /// The part, from 0.4 to 1.
    pub fn part(self) -> f64 {
        self.0
    }

    /// An answer came, in time or not. Where half as many are late as may be, the steps down and up are even.
    pub fn answered(&mut self, slo: Slo, late: bool) {
        let down = if late { STEP } else { 0.0 };
        self.0 = (self.0 + STEP * (1.0 - slo.share) / 2.0 - down).clamp(TIGHTEST, 1.0);
    }
}

/// Seconds until a batch is done that waits for others, on threads that each take the next batch as soon as
/// they are free: the one that is free first takes it, so that is who finishes it first.
///
/// `free` are the seconds until each thread is free; it is used up. `ahead` batches of `each` seconds go
/// before, and then this one of `own`.
pub fn finish(free: &mut [f64], ahead: usize, each: f64, own: f64) -> f64 {
    let threads = free.len().max(1);
    // So many in a row that where they begin no longer matters.
    if ahead > 4 * threads.max(4) {
        let sum: f64 = free.iter().sum();
        return (sum + ahead as f64 * each) / threads as f64 + own;
    }
    for _ in 0..ahead {
        if let Some(first) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *first += each;
        }
    }
    free.iter().copied().min_by(f64::total_cmp).unwrap_or(0.0) + own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_objectives_and_names_what_is_none() {
        let slo: Slo = "p99=50ms".parse().unwrap();
        assert_eq!(slo, Slo { share: 0.99, within: Duration::from_millis(50) });
        let slo: Slo = " p99.9 = 1.5s ".parse().unwrap();
        assert!((slo.share - 0.999).abs() < 1e-12 && slo.within == Duration::from_millis(1500));
        for same in ["p99=50ms", "p99.9=1500ms", "p57=0.25ms"] {
            assert_eq!(same.parse::<Slo>().unwrap().to_string(), same);
        }
        for wrong in
            ["", "50ms", "p99", "p99=", "p99=50", "p40=50ms", "p100=1s", "p99=0ms", "p99=1h"]
        {
            let error = wrong.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("p99=50ms"), "{error}");
        }
    }

    #[test]
    fn batches_go_to_the_thread_that_is_free_first() {
        // 5 + 2 * 10 on the first, 12 + 10 on the second; this one then starts at 22.
        assert_eq!(finish(&mut [5.0, 12.0], 3, 10.0, 4.0), 26.0);
        assert_eq!(finish(&mut [5.0, 0.0], 0, 10.0, 4.0), 4.0);
        let long = finish(&mut [5.0, 12.0], 100, 10.0, 4.0);
        assert!((long - 512.5).abs() < 1e-9, "{long}");
    }

    #[test]
    fn the_aim_settles_where_the_share_is_kept() {
        let slo: Slo = "p90=10ms".parse().unwrap();
        let mut aim = Aim::default();
        // An answer is late with the probability that its aim overshoots 0.7, for want of a better engine.
        let mut late = 0;
        for i in 0..20_000_u32 {
            let chance = f64::from(i.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
            let is_late = chance * 0.3 + 0.7 < aim.part();
            late += usize::from(is_late && i >= 1000);
            aim.answered(slo, is_late);
        }
        assert!((f64::from(late as u32) / 19_000.0 - 0.05).abs() < 0.01, "{late}");
        (0..100).for_each(|_| aim.answered(slo, true));
        assert_eq!(aim.part(), TIGHTEST);
    }
}
