//! What to do next about one model, given what is wanted and what is there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::scan::Fingerprint;

/// What is known of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The files it was loaded from and serves.
    pub serving: Option<Fingerprint>,
    /// The files of the newest attempt to load it, if that failed.
    pub failed: Option<Fingerprint>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Load this version from these files.
    Load(u64, Fingerprint),
    /// Take this version out of service.
    Unload(u64),
    /// Files are still changing: look again soon.
    Settle,
    /// All is as it should be.
    Rest,
}

/// Decides. `wanted` are the versions to serve with their files as they are now, `on_disk` all
/// that exist. Files count as whole when nothing touched them for `settle`.
pub fn next_action(
    wanted: &BTreeMap<u64, Fingerprint>,
    on_disk: &BTreeSet<u64>,
    known: &BTreeMap<u64, Known>,
    now: SystemTime,
    settle: Duration,
) -> Action {
    let mut settling = false;
    // Newest first: at the start it is the one that most requests will want.
    for (version, files) in wanted.iter().rev() {
        let state = known.get(version).cloned().unwrap_or_default();
        if state.serving.as_ref() == Some(files) || state.failed.as_ref() == Some(files) {
            continue;
        }
        // A clock that was set back makes a file look new for ever; an hour ahead is no news.
        let age = now.duration_since(files.newest);
        let ahead = age.as_ref().is_err_and(|e| e.duration() > Duration::from_secs(3600));
        if age.is_ok_and(|age| age >= settle) || ahead {
            return Action::Load(*version, files.clone());
        }
        settling = true;
    }
    // New before old: nothing is taken away while something wanted is still on its way, unless
    // its files are gone.
    let unwanted = known.iter().filter(|(v, k)| !wanted.contains_key(v) && k.serving.is_some());
    for (version, _) in unwanted {
        if !settling || !on_disk.contains(version) {
            return Action::Unload(*version);
        }
    }
    if settling { Action::Settle } else { Action::Rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(1);

    fn files(age_ms: u64) -> (Fingerprint, SystemTime) {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Fingerprint::read(dir.path(), dir.path()).unwrap();
        let now = SystemTime::now();
        files.newest = now - Duration::from_millis(age_ms);
        (files, now)
    }

    fn serving(files: &Fingerprint) -> Known {
        Known { serving: Some(files.clone()), failed: None }
    }

    #[test]
    fn loads_the_newest_version_first_then_rests() {
        let (f, now) = files(5000);
        let wanted = BTreeMap::from([(1, f.clone()), (2, f.clone())]);
        let disk = BTreeSet::from([1, 2]);
        let mut known = BTreeMap::new();
        for version in [2, 1] {
            let next = next_action(&wanted, &disk, &known, now, SETTLE);
            assert_eq!(next, Action::Load(version, f.clone()));
            known.insert(version, serving(&f));
        }
        assert_eq!(next_action(&wanted, &disk, &known, now, SETTLE), Action::Rest);
    }

    #[test]
    fn waits_until_files_are_whole() {
        let (f, now) = files(300);
        let wanted = BTreeMap::from([(1, f.clone())]);
        let disk = BTreeSet::from([1]);
        let next = |now| next_action(&wanted, &disk, &BTreeMap::new(), now, SETTLE);
        assert_eq!(next(now), Action::Settle);
        assert_eq!(next(now + SETTLE), Action::Load(1, f.clone()));
    }

    #[test]
    fn a_failed_version_is_tried_again_only_when_its_files_change() {
        let (f, now) = files(5000);
        let known = BTreeMap::from([(1, Known { serving: None, failed: Some(f.clone()) })]);
        let disk = BTreeSet::from([1]);
        let wanted = BTreeMap::from([(1, f)]);
        assert_eq!(next_action(&wanted, &disk, &known, now, SETTLE), Action::Rest);
        let (changed, now) = files(4000);
        let wanted = BTreeMap::from([(1, changed.clone())]);
        assert_eq!(next_action(&wanted, &disk, &known, now, SETTLE), Action::Load(1, changed));
    }

    #[test]
    fn an_old_version_serves_until_the_new_one_is_there() {
        let (young, now) = files(10);
        let (old, _) = files(5000);
        let known = BTreeMap::from([(1, serving(&old))]);
        let disk = BTreeSet::from([1, 2]);
        let wanted = BTreeMap::from([(2, young.clone())]);
        assert_eq!(next_action(&wanted, &disk, &known, now, SETTLE), Action::Settle);
        let known = BTreeMap::from([(1, serving(&old)), (2, serving(&young))]);
        assert_eq!(next_action(&wanted, &disk, &known, now, SETTLE), Action::Unload(1));
    }

    #[test]
    fn a_version_whose_files_are_gone_is_unloaded_at_once() {
        let (young, now) = files(10);
        let known = BTreeMap::from([(1, serving(&young))]);
        let wanted = BTreeMap::from([(2, young)]);
        let next = next_action(&wanted, &BTreeSet::from([2]), &known, now, SETTLE);
        assert_eq!(next, Action::Unload(1));
    }
}
