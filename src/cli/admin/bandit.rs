//! What `experiment --bandit` takes.

use serde_json::{Value, json};

use super::words::percent;
use crate::control::rollout::Span;

/// A bandit to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Bandit {
    /// Basis points.
    min: u32,
    max: u32,
    interval: Span,
    metric: &'static str,
}

impl Bandit {
    /// Reads `min=5%,max=95%,interval=1m,metric=accuracy`; what is left out is as here.
    pub fn parse(text: &str) -> Result<Bandit, String> {
        let interval = std::time::Duration::from_secs(60).into();
        let mut bandit = Bandit { min: 500, max: 9_500, interval, metric: "accuracy" };
        for pair in text.split(',').map(str::trim) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "min" => bandit.min = points(value)?,
                "max" => bandit.max = points(value)?,
                "interval" => bandit.interval = Span::try_from(value.to_owned())?,
                "metric" => {
                    let known = ["accuracy", "success"].into_iter().find(|known| *known == value);
                    let wrong =
                        || format!("`{value}` is no metric: valid are accuracy and success");
                    bandit.metric = known.ok_or_else(wrong)?;
                }
                _ => {
                    return Err(format!(
                        "`{key}` is unknown: valid are min, max, interval, metric"
                    ));
                }
            }
        }
        if bandit.min > bandit.max {
            let [min, max] = [bandit.min, bandit.max].map(|p| percent(f64::from(p) / 100.0));
            return Err(format!("min={min} is above max={max}"));
        }
        Ok(bandit)
    }

    /// What the server is told.
    pub fn json(&self) -> Value {
        let interval = String::from(self.interval);
        json!({ "min": self.min, "max": self.max, "interval": interval, "metric": self.metric })
    }
}

fn points(text: &str) -> Result<u32, String> {
    let share = text.strip_suffix('%').and_then(|digits| digits.parse::<f64>().ok());
    let share = share.filter(|share| (0.0..=100.0).contains(share));
    let share = share.ok_or_else(|| format!("`{text}` is no percentage such as 5%"))?;
    Ok((share * 100.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let all = Bandit::parse("min=2.5%, max=90%, interval=90s, metric=success").unwrap();
        let expected = json!({"min": 250, "max": 9000, "interval": "1m 30s", "metric": "success"});
        assert_eq!(all.json(), expected);
        let some = Bandit::parse("min=10%").unwrap().json();
        let expected = json!({"min": 1000, "max": 9500, "interval": "1m", "metric": "accuracy"});
        assert_eq!(some, expected);
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text| Bandit::parse(text).unwrap_err();
        assert_eq!(wrong("min=5"), "`5` is no percentage such as 5%");
        assert_eq!(wrong("max=101%"), "`101%` is no percentage such as 5%");
        assert_eq!(wrong("min=50%,max=40%"), "min=50% is above max=40%");
        assert_eq!(wrong("metric=speed"), "`speed` is no metric: valid are accuracy and success");
        assert_eq!(wrong("mni=5%"), "`mni` is unknown: valid are min, max, interval, metric");
        assert!(wrong("interval=soon").starts_with("`soon` is no length of time such as 90s"));
    }
}
