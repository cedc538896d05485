//! What to do next about one model, given what is wanted and what is there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::orders::numbers;
use super::scan::Fingerprint;
use crate::error::InferError;
use crate::router::{VersionState, VersionStatus};

/// The reason of a version that was asked out of service.
pub const UNLOADED: &str = "unloaded by request";

/// The reason of a version that is not loaded since nobody asks for it.
pub const ON_DEMAND: &str = "loaded on demand";

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
/// that exist, `whole` the wanted ones whose files nobody is writing any more.
pub fn next_action(
    wanted: &BTreeMap<u64, Fingerprint>,
    on_disk: &BTreeSet<u64>,
    known: &BTreeMap<u64, Known>,
    whole: &BTreeSet<u64>,
) -> Action {
    let mut settling = false;
    // Newest first: at the start it is the one that most requests will want.
    for (version, files) in wanted.iter().rev() {
        let state = known.get(version).cloned().unwrap_or_default();
        if state.serving.as_ref() == Some(files) || state.failed.as_ref() == Some(files) {
            continue;
        }
        if whole.contains(version) {
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

/// What a caller is told who waits for a model that came to rest: the newest wanted version that
/// is not what its files say, if there is one.
pub fn outcome(
    model: &str,
    wanted: &BTreeSet<u64>,
    on_disk: &BTreeSet<u64>,
    statuses: &BTreeMap<u64, VersionStatus>,
) -> Result<(), InferError> {
    if wanted.is_empty() {
        let on_disk = numbers(on_disk);
        let what = format!("model {model}: no version is wanted; on disk: {on_disk}");
        return Err(InferError::Conflict(what));
    }
    for version in wanted.iter().rev() {
        let reason = match statuses.get(version) {
            _ if !on_disk.contains(version) => {
                format!("no such version directory; on disk: {}", numbers(on_disk))
            }
            Some(VersionStatus { error: Some(error), .. }) => error.clone(),
            Some(VersionStatus { state: VersionState::Available, .. }) => continue,
            Some(status) => format!("is {}", status.state.name()),
            None => "its files can't be read".to_owned(),
        };
        return Err(InferError::Conflict(format!("model {model} version {version}: {reason}")));
    }
    Ok(())
}

/// The statuses of a model that is out of service, and why: `UNLOADING` while requests still hold
/// a version, of which `removed` are routed to no more as of now.
pub fn out_of_service(
    why: &str,
    before: &BTreeMap<u64, VersionStatus>,
    on_disk: &BTreeSet<u64>,
    removed: &BTreeSet<u64>,
) -> BTreeMap<u64, VersionStatus> {
    let held = before.iter().filter(|(_, s)| s.state == VersionState::Unloading).map(|(v, _)| *v);
    let held: BTreeSet<u64> = held.chain(removed.iter().copied()).collect();
    let status = |version: &u64| {
        let held = held.contains(version);
        let state = if held { VersionState::Unloading } else { VersionState::End };
        (*version, VersionStatus { state, error: Some(why.to_owned()) })
    };
    on_disk.union(&held).map(status).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(size: usize) -> Fingerprint {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.onnx"), vec![0; size]).unwrap();
        Fingerprint::read(dir.path(), dir.path()).unwrap()
    }

    fn serving(files: &Fingerprint) -> Known {
        Known { serving: Some(files.clone()), failed: None }
    }

    #[test]
    fn loads_the_newest_version_first_then_rests() {
        let f = files(1);
        let wanted = BTreeMap::from([(1, f.clone()), (2, f.clone())]);
        let disk = BTreeSet::from([1, 2]);
        let mut known = BTreeMap::new();
        for version in [2, 1] {
            let next = next_action(&wanted, &disk, &known, &disk);
            assert_eq!(next, Action::Load(version, f.clone()));
            known.insert(version, serving(&f));
        }
        assert_eq!(next_action(&wanted, &disk, &known, &disk), Action::Rest);
    }

    #[test]
    fn waits_until_files_are_whole() {
        let f = files(1);
        let wanted = BTreeMap::from([(1, f.clone())]);
        let disk = BTreeSet::from([1]);
        let next = |whole: &[u64]| {
            next_action(&wanted, &disk, &BTreeMap::new(), &whole.iter().copied().collect())
        };
        assert_eq!(next(&[]), Action::Settle);
        assert_eq!(next(&[1]), Action::Load(1, f.clone()));
    }

    #[test]
    fn a_failed_version_is_tried_again_only_when_its_files_change() {
        let f = files(1);
        let known = BTreeMap::from([(1, Known { serving: None, failed: Some(f.clone()) })]);
        let disk = BTreeSet::from([1]);
        let wanted = BTreeMap::from([(1, f)]);
        assert_eq!(next_action(&wanted, &disk, &known, &disk), Action::Rest);
        let changed = files(2);
        let wanted = BTreeMap::from([(1, changed.clone())]);
        assert_eq!(next_action(&wanted, &disk, &known, &disk), Action::Load(1, changed));
    }

    #[test]
    fn an_old_version_serves_until_the_new_one_is_there() {
        let (young, old) = (files(1), files(2));
        let known = BTreeMap::from([(1, serving(&old))]);
        let disk = BTreeSet::from([1, 2]);
        let wanted = BTreeMap::from([(2, young.clone())]);
        assert_eq!(next_action(&wanted, &disk, &known, &BTreeSet::new()), Action::Settle);
        let known = BTreeMap::from([(1, serving(&old)), (2, serving(&young))]);
        assert_eq!(next_action(&wanted, &disk, &known, &disk), Action::Unload(1));
    }

    #[test]
    fn a_version_whose_files_are_gone_is_unloaded_at_once() {
        let young = files(1);
        let known = BTreeMap::from([(1, serving(&young))]);
        let wanted = BTreeMap::from([(2, young)]);
        let next = next_action(&wanted, &BTreeSet::from([2]), &known, &BTreeSet::new());
        assert_eq!(next, Action::Unload(1));
    }

    fn status(state: VersionState, error: Option<&str>) -> VersionStatus {
        VersionStatus { state, error: error.map(str::to_owned) }
    }

    #[test]
    fn a_waiting_caller_hears_of_the_newest_version_that_is_not_as_wanted() {
        use VersionState::{Available, End, Start};
        let statuses = BTreeMap::from([
            (1, status(Available, None)),
            (2, status(End, Some("broken"))),
            (3, status(Available, Some("half a file"))),
            (4, status(Available, None)),
            (5, status(Start, None)),
        ]);
        let disk = BTreeSet::from([1, 2, 3, 4, 5, 6]);
        for (wanted, told) in [
            (vec![1, 4], None),
            (vec![1, 2], Some("model m version 2: broken")),
            (vec![2, 3, 4], Some("model m version 3: half a file")),
            (vec![5], Some("model m version 5: is START")),
            (vec![4, 6], Some("model m version 6: its files can't be read")),
            (vec![4, 9], Some("model m version 9: no such version directory")),
            (vec![], Some("model m: no version is wanted; on disk: 1, 2, 3, 4, 5, 6")),
        ] {
            let wanted = wanted.into_iter().collect();
            let error = outcome("m", &wanted, &disk, &statuses).err().map(|e| e.to_string());
            let fits = match (&error, told) {
                (Some(error), Some(told)) => error.starts_with(told),
                (None, None) => true,
                _ => false,
            };
            assert!(fits, "{wanted:?}: {error:?}");
        }
    }

    #[test]
    fn what_left_service_is_listed_until_its_files_and_its_requests_are_gone() {
        use VersionState::{Available, End, Start, Unloading};
        let why = Some(UNLOADED);
        let all = BTreeMap::from([
            (1, status(Available, None)),
            (2, status(End, Some("broken"))),
            (3, status(Start, None)),
        ]);
        let disk = BTreeSet::from([1, 2, 3]);
        let out = out_of_service(UNLOADED, &all, &disk, &BTreeSet::from([1]));
        let end = status(End, why);
        let expected = [(1, status(Unloading, why)), (2, end.clone()), (3, end.clone())];
        assert_eq!(out, BTreeMap::from(expected.clone()));
        // The same again, and with a version that came and one whose files went.
        assert_eq!(
            out_of_service(UNLOADED, &out, &disk, &BTreeSet::new()),
            BTreeMap::from(expected)
        );
        let out = out_of_service(UNLOADED, &out, &BTreeSet::from([2, 4]), &BTreeSet::new());
        let expected = [(1, status(Unloading, why)), (2, end.clone()), (4, end)];
        assert_eq!(out, BTreeMap::from(expected));
    }
}
