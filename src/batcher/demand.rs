//! How much comes in a second, lately. Pure.

use std::time::{Duration, Instant};

/// A rate that forgets: what came `memory` ago counts a third of what comes now.
#[derive(Clone, Debug)]
pub struct Rate {
    memory: f64,
    since: Option<Instant>,
    at: Option<Instant>,
    sum: f64,
}

impl Rate {
    /// Nothing came yet.
    pub fn new(memory: Duration) -> Rate {
        Rate { memory: memory.as_secs_f64(), since: None, at: None, sum: 0.0 }
    }

    /// So much came; what turns out to have been less is taken back by a negative amount.
    pub fn add(&mut self, amount: f64, now: Instant) {
        self.sum = self.left(now) + amount;
        self.since = self.since.or(Some(now));
        self.at = Some(now);
    }

    /// Forgets as quickly from now on.
    pub fn forget_after(&mut self, memory: Duration) {
        // What was there counts by its rate.
        let memory = memory.as_secs_f64();
        self.sum *= memory / self.memory;
        self.memory = memory;
    }

    /// So much a second.
    pub fn per_second(&self, now: Instant) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        // What there was before the first amount is not known, and no reason to think it was nothing. But a
        // rate over no time is none: a hundredth of the memory is looked at at least.
        let seen = now.saturating_duration_since(since).as_secs_f64() / self.memory;
        let whole = (1.0 - (-seen).exp()).max(0.01);
        (self.left(now) / (self.memory * whole)).max(0.0)
    }

    fn left(&self, now: Instant) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let aged = now.saturating_duration_since(at).as_secs_f64() / self.memory;
        self.sum * (-aged).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_is_forgotten() {
        let t0 = Instant::now();
        let at = |ms: u64| t0 + Duration::from_millis(ms);
        let mut rate = Rate::new(Duration::from_secs(1));
        assert_eq!(rate.per_second(t0), 0.0);
        (0..200).for_each(|i| rate.add(0.5, at(i * 10)));
        assert!((rate.per_second(at(2000)) - 50.0).abs() < 1.0, "{}", rate.per_second(at(2000)));
        assert!(rate.per_second(at(7000)) < 0.5);
        // A short start is not taken for a slow one.
        let mut young = Rate::new(Duration::from_secs(1));
        (0..20).for_each(|i| young.add(0.5, at(i * 10)));
        assert!((young.per_second(at(200)) - 50.0).abs() < 3.0);
        young.add(-1000.0, at(200));
        assert_eq!(young.per_second(at(200)), 0.0);
    }
}
