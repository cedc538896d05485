//! Counts of the last hour, in buckets of ten seconds. Pure: time is an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tally::{Observation, Tally};

/// Length of a bucket. A window begins at the start of one, so it is up to this much short.
pub const BUCKET: Duration = Duration::from_secs(10);

/// The longest window.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// Tallies by time. Buckets are shared with whoever sums them up, so that need not hold a lock.
pub struct Windows {
    start: Instant,
    /// (which bucket since the start, its counts), ascending, none empty.
    buckets: VecDeque<(u64, Arc<Tally>)>,
}

impl Windows {
    /// Nothing counted yet.
    pub fn new(start: Instant) -> Windows {
        Windows { start, buckets: VecDeque::new() }
    }

    fn bucket(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs()
    }

    /// Counts one. If another thread was faster with a later time, it counts as that late.
    pub fn push(&mut self, seen: &Observation, now: Instant) {
        let newest = self.buckets.back().map_or(0, |(bucket, _)| *bucket);
        let bucket = self.bucket(now).max(newest);
        while self.buckets.pop_front_if(|(b, _)| !within(*b, bucket, LONGEST)).is_some() {}
        match self.buckets.back_mut() {
            Some((b, tally)) if *b == bucket => Arc::make_mut(tally).push(seen),
            _ => {
                let mut tally = Tally::default();
                tally.push(seen);
                self.buckets.push_back((bucket, Arc::new(tally)));
            }
        }
    }

    /// The buckets of the last `window`, newest first; the current one is among them.
    pub fn last(&self, window: Duration, now: Instant) -> Vec<Arc<Tally>> {
        let now = self.bucket(now);
        let recent = self.buckets.iter().rev().take_while(|(b, _)| within(*b, now, window));
        recent.map(|(_, tally)| Arc::clone(tally)).collect()
    }
}

fn within(bucket: u64, now: u64, window: Duration) -> bool {
    bucket + window.as_secs() / BUCKET.as_secs() > now
}

/// Their sum.
pub fn sum(tallies: &[Arc<Tally>]) -> Tally {
    let mut sum = Tally::default();
    tallies.iter().for_each(|t| sum.add(t));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(w: &Windows, seconds: u64, now: Instant) -> u64 {
        sum(&w.last(Duration::from_secs(seconds), now)).n
    }

    #[test]
    fn slides_bucket_by_bucket() {
        let t0 = Instant::now();
        let at = |s: u64| t0 + Duration::from_secs(s);
        let mut w = Windows::new(t0);
        w.push(&Observation::default(), at(9));
        w.push(&Observation::default(), at(10));
        assert_eq!(count(&w, 300, at(299)), 2);
        assert_eq!(count(&w, 300, at(300)), 1);
        assert_eq!(count(&w, 300, at(309)), 1);
        assert_eq!(count(&w, 300, at(310)), 0);
        assert_eq!(count(&w, 3600, at(3599)), 2);
        assert_eq!(count(&w, 3600, at(3610)), 0);
    }

    #[test]
    fn a_late_comer_counts_in_the_newest_bucket() {
        let t0 = Instant::now();
        let mut w = Windows::new(t0 + Duration::from_secs(5));
        w.push(&Observation::default(), t0 + Duration::from_secs(60));
        w.push(&Observation::default(), t0);
        assert_eq!(w.buckets.len(), 1);
        assert_eq!(count(&w, 300, t0), 2);
    }

    proptest! {
        #[test]
        fn counts_what_a_list_of_times_counts(steps in prop::collection::vec(0u64..400, 1..400)) {
            let t0 = Instant::now();
            let (mut w, mut at, mut times) = (Windows::new(t0), 0, vec![]);
            for step in steps {
                at += step;
                times.push(at);
                w.push(&Observation::default(), t0 + Duration::from_secs(at));
                prop_assert!(w.buckets.len() <= 360);
                for window in [300, 3600] {
                    let from = (at / 10 * 10 + 10).saturating_sub(window);
                    let expected = times.iter().filter(|t| **t >= from).count() as u64;
                    let now = t0 + Duration::from_secs(at);
                    prop_assert_eq!(count(&w, window, now), expected);
                }
            }
        }
    }
}
