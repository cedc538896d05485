//! How long who was too early or too late waits before the next attempt. For this room.

use std::time::Duration;

/// Waits that double from one to the next.
pub(super) struct Backoff {
    from: Duration,
    to: Duration,
    next: Duration,
}

impl Backoff {
    /// From the first to the longest wait.
    pub(super) fn new(from: Duration, to: Duration) -> Backoff {
        Backoff { from, to, next: from }
    }

    /// Starts over.
    pub(super) fn reset(&mut self) {
        self.next = self.from;
    }

    /// How long to wait now: half of it is chance, so that replicas spread.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.to);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_over() {
        let (from, to) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(from, to);
        assert!((from / 2..=from).contains(&backoff.next()));
        for _ in 0..100 {
            backoff.next();
        }
        assert!((to / 2..=to).contains(&backoff.next()));
        backoff.reset();
        assert!(backoff.next() <= from);
    }
}
