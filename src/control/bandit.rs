//! Thompson sampling: moves the weights towards the arm that is likelier to be the best one. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rollout::Span;
use crate::router::SLOTS;

/// Draws of each arm's rate: the weights come out within about half a percent.
const DRAWS: usize = 10_000;

/// What moves the weights towards the better arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bandit {
    /// Basis points that an arm keeps at least, so that it goes on to be learned of.
    pub min: u32,
    /// Basis points that an arm gets at most.
    pub max: u32,
    /// How often the weights move.
    #[schema(value_type = String)]
    pub interval: Span,
    /// What is better.
    #[serde(default)]
    pub metric: Reward,
}

/// What an arm is rewarded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// Feedback that says the answer was right.
    #[default]
    Accuracy,
    /// Requests that were answered without an error.
    Success,
}

impl Bandit {
    /// Checks what types can't.
    pub fn check(&self, arms: usize) -> Result<(), String> {
        let arms = arms as u32;
        if arms < 2 {
            return Err("a bandit chooses among two arms at least".to_owned());
        }
        if self.min > self.max || self.min * arms > SLOTS || self.max * arms < SLOTS {
            return Err(format!(
                "{arms} arms between {} and {} basis points can't sum to {SLOTS}",
                self.min, self.max
            ));
        }
        Ok(())
    }

    /// New weights from (tries, successes) by arm. `seed` makes it repeatable.
    pub fn weights(&self, arms: &BTreeMap<u64, (u64, u64)>, seed: u64) -> BTreeMap<u64, u32> {
        let mut random = Random(seed);
        let mut wins: BTreeMap<u64, u32> = arms.keys().map(|v| (*v, 0)).collect();
        for _ in 0..DRAWS {
            let draw = |(v, (n, k)): (&u64, &(u64, u64))| {
                (random.beta(1.0 + *k as f64, 1.0 + n.saturating_sub(*k) as f64), *v)
            };
            let best = arms.iter().map(draw).max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, version)) = best {
                *wins.entry(version).or_default() += 1;
            }
        }
        let shares: Vec<_> = wins.into_iter().collect();
        let shares = crate::router::normalise(&shares).unwrap_or_default();
        let all = arms.keys().map(|v| (*v, shares.get(v).copied().unwrap_or(0))).collect();
        self.bound(all)
    }

    /// Brings every weight within the bounds, and what that takes or gives from the others in
    /// proportion to the room they have.
    fn bound(&self, mut weights: BTreeMap<u64, u32>) -> BTreeMap<u64, u32> {
        weights.values_mut().for_each(|w| *w = (*w).clamp(self.min, self.max));
        loop {
            let sum: u32 = weights.values().sum();
            let short = i64::from(SLOTS) - i64::from(sum);
            let room = |w: u32| if short > 0 { self.max - w } else { w - self.min };
            let all: u32 = weights.values().map(|w| room(*w)).sum();
            if short == 0 || all == 0 {
                return weights;
            }
            let mut left = short.unsigned_abs() as u32;
            for weight in weights.values_mut() {
                let fair = (u64::from(short.unsigned_abs() as u32) * u64::from(room(*weight)))
                    .div_ceil(u64::from(all)) as u32;
                let step = fair.min(left).min(room(*weight));
                left -= step;
                *weight = if short > 0 { *weight + step } else { *weight - step };
            }
        }
    }
}

/// A small generator (SplitMix64), so that every replica draws the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform, above 0 and below 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Marsaglia and Tsang 2000, for shapes from 1 on, which ours are.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        x / (x + y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bandit(min: u32, max: u32) -> Bandit {
        let interval = std::time::Duration::from_secs(1).into();
        Bandit { min, max, interval, metric: Reward::Accuracy }
    }

    fn weights(bandit: &Bandit, arms: &[(u64, (u64, u64))]) -> BTreeMap<u64, u32> {
        let weights = bandit.weights(&arms.iter().copied().collect(), 7);
        assert_eq!(weights.values().sum::<u32>(), SLOTS);
        weights
    }

    #[test]
    fn knows_nothing_at_first_and_learns() {
        let bandit = bandit(500, 9500);
        let fresh = weights(&bandit, &[(1, (0, 0)), (2, (0, 0))]);
        assert!((4800..5200).contains(&fresh[&1]), "{fresh:?}");
        let leaning = weights(&bandit, &[(1, (100, 80)), (2, (100, 85))]);
        assert!((7000..9000).contains(&leaning[&2]), "{leaning:?}");
        let sure = weights(&bandit, &[(1, (1000, 800)), (2, (1000, 900))]);
        assert_eq!(sure, BTreeMap::from([(1, 500), (2, 9500)]));
    }

    #[test]
    fn stays_within_its_bounds() {
        let three =
            weights(&bandit(1000, 6000), &[(1, (9000, 8900)), (2, (9000, 10)), (3, (9000, 10))]);
        assert_eq!(three[&1], 6000);
        assert!(three.values().all(|w| (1000..=6000).contains(w)), "{three:?}");
        assert!(bandit(6000, 9000).check(2).is_err());
        assert!(bandit(0, 4000).check(2).is_err());
        assert!(bandit(500, 9500).check(1).is_err());
        assert_eq!(bandit(500, 9500).check(2), Ok(()));
    }

    #[test]
    fn draws_as_a_beta_does() {
        let mut random = Random(3);
        let draws: Vec<f64> = (0..20_000).map(|_| random.beta(3.0, 7.0)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let spread = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 0.3).abs() < 0.005, "{mean}");
        assert!((spread - 21.0 / 1100.0).abs() < 0.001, "{spread}");
    }
}
