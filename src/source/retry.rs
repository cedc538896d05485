//! When what failed is tried again. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::key::Key;

const FIRST: Duration = Duration::from_secs(1);
/// What is broken at the source is not fetched over and over, which may cost money.
const LONGEST: Duration = Duration::from_secs(600);

/// How long to wait after so many failures in a row: a second, then twice as long each time.
pub fn backoff(failures: u32, longest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(longest)
}

/// Objects that could not be had.
#[derive(Default)]
pub struct Retries(BTreeMap<Key, Failed>);

struct Failed {
    /// What the object was; another one is tried at once.
    was: String,
    times: u32,
    due: Instant,
}

impl Retries {
    /// Whether an object may be tried.
    pub fn is_due(&self, key: &Key, is: &str, now: Instant) -> bool {
        self.0.get(key).is_none_or(|failed| failed.was != is || failed.due <= now)
    }

    /// It failed.
    pub fn failed(&mut self, key: &Key, is: &str, now: Instant) {
        let same = self.0.get(key).filter(|failed| failed.was == is);
        let times = same.map_or(0, |failed| failed.times).saturating_add(1);
        let due = now + backoff(times, LONGEST);
        self.0.insert(key.clone(), Failed { was: is.to_owned(), times, due });
    }

    /// It came.
    pub fn came(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Forgets what the source has no longer.
    pub fn keep_only(&mut self, keys: &BTreeSet<Key>) {
        self.0.retain(|key, _| keys.contains(key));
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|failed| failed.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_twice_as_long_each_time_up_to_a_bound() {
        let waits = [1, 2, 3, 6, 7, 40].map(|n| backoff(n, 45 * S).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 45, 45]);
    }

    #[test]
    fn another_object_is_tried_at_once_and_the_same_when_it_is_due() {
        let key = Key::parse("m/1/model.onnx").unwrap();
        let mut retries = Retries::default();
        let now = Instant::now();
        assert!(retries.is_due(&key, "a", now));
        retries.failed(&key, "a", now);
        assert!(!retries.is_due(&key, "a", now));
        assert!(retries.is_due(&key, "b", now));
        assert!(retries.is_due(&key, "a", now + S));
        retries.failed(&key, "a", now + S);
        assert!(!retries.is_due(&key, "a", now + 2 * S));
        assert_eq!(retries.next_due(), Some(now + 3 * S));
        retries.failed(&key, "b", now);
        assert_eq!(retries.next_due(), Some(now + S));
        retries.keep_only(&BTreeSet::from([key.clone()]));
        assert!(!retries.is_due(&key, "b", now));
        retries.came(&key);
        assert!(retries.is_due(&key, "b", now) && retries.next_due().is_none());
    }
}
