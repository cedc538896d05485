//! Whether files are whole: nothing touched them for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::scan::Fingerprint;

/// What a model's versions looked like, and since when, by this process' own clock.
#[derive(Default)]
pub struct Quiet(BTreeMap<u64, (Fingerprint, Instant)>);

impl Quiet {
    /// Whether nothing touched a version's files for `settle`: by their times, or, since those are another
    /// host's clock where the files are shared, because they were seen to stay as they are for so long.
    pub fn is_whole(
        &mut self,
        version: u64,
        files: &Fingerprint,
        settle: Duration,
        (now, at): (SystemTime, Instant),
    ) -> bool {
        let seen = self.0.entry(version).or_insert_with(|| (files.clone(), at));
        if seen.0 != *files {
            *seen = (files.clone(), at);
        }
        let told = now.duration_since(files.newest).is_ok_and(|age| age >= settle);
        told || at.saturating_duration_since(seen.1) >= settle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(1);

    fn files(newest: SystemTime) -> Fingerprint {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Fingerprint::read(dir.path(), dir.path()).unwrap();
        files.newest = newest;
        files
    }

    #[test]
    fn files_that_are_old_are_whole_at_first_sight() {
        let (now, at) = (SystemTime::now(), Instant::now());
        let mut quiet = Quiet::default();
        assert!(quiet.is_whole(1, &files(now - SETTLE), SETTLE, (now, at)));
        assert!(!quiet.is_whole(2, &files(now), SETTLE, (now, at)));
        assert!(quiet.is_whole(2, &files(now), SETTLE, (now + SETTLE, at)));
    }

    #[test]
    fn files_from_another_hosts_future_are_whole_when_they_stayed_as_they_are() {
        let (now, at) = (SystemTime::now(), Instant::now());
        let half_an_hour = Duration::from_secs(1800);
        let (one, other) = (files(now + half_an_hour), files(now + 2 * half_an_hour));
        let mut quiet = Quiet::default();
        let mut whole = |files: &Fingerprint, after: Duration| {
            quiet.is_whole(1, files, SETTLE, (now + after, at + after))
        };
        assert!(!whole(&one, Duration::ZERO));
        assert!(!whole(&one, SETTLE / 2));
        // They change, and the wait starts over.
        assert!(!whole(&other, SETTLE));
        assert!(!whole(&other, SETTLE * 3 / 2));
        assert!(whole(&other, SETTLE * 2));
    }
}
