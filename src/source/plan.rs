//! What a model's directory becomes of what the source has and what of it is here. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;

/// A model's directory: its files by their paths in it.
pub type Tree = BTreeMap<String, Digest>;

/// The files that the source has of a model, each with its digest if it is here.
pub type Wanted = BTreeMap<String, Option<Digest>>;

/// The version that a path within a model's directory, or its first part, is of.
pub fn version_of(file: &str) -> Option<u64> {
    let first = file.split('/').next()?;
    let number = first.parse::<u64>().ok().filter(|n| *n > 0)?;
    (number.to_string() == first).then_some(number)
}

/// The directory to publish next, if it is another than `now`.
///
/// All that the source has, once all of it is here. Until then, whole versions come in one by one, as
/// long as the files that all versions share stay what they are; nothing goes, since what comes may be
/// there to replace it.
pub fn next_tree(now: Option<&Tree>, wanted: &Wanted) -> Option<Tree> {
    let here = || wanted.iter().filter_map(|(file, digest)| Some((file.clone(), (*digest)?)));
    let shared = |tree: &Tree| -> Tree {
        let files = tree.iter().filter(|(file, _)| version_of(file).is_none());
        files.map(|(file, digest)| (file.clone(), *digest)).collect()
    };
    let lacking: BTreeSet<Option<u64>> =
        wanted.iter().filter(|(_, digest)| digest.is_none()).map(|(f, _)| version_of(f)).collect();
    let all: Tree = here().collect();
    let next = if lacking.is_empty() {
        all
    } else {
        let same = now.is_none_or(|now| shared(now) == shared(&all));
        if lacking.contains(&None) || !same {
            return None;
        }
        let whole = |file: &str| !lacking.contains(&version_of(file));
        let coming: Tree = all.into_iter().filter(|(file, _)| whole(file)).collect();
        let versions: BTreeSet<u64> = coming.keys().filter_map(|f| version_of(f)).collect();
        if versions.is_empty() {
            return None;
        }
        let stays = |file: &&String| version_of(file).is_some_and(|v| !versions.contains(&v));
        let old = now.into_iter().flatten().filter(|(file, _)| stays(file));
        let old: Tree = old.map(|(file, digest)| (file.clone(), *digest)).collect();
        old.into_iter().chain(coming).collect()
    };
    (now != Some(&next)).then_some(next)
}

/// Keeps the newest versions of what the source has of a model; 0 keeps all.
pub fn keep_newest<T>(files: &mut BTreeMap<String, T>, newest: usize) {
    let versions: BTreeSet<u64> = files.keys().filter_map(|f| version_of(f)).collect();
    if newest == 0 || versions.is_empty() {
        return;
    }
    let Some(oldest) = versions.iter().nth_back(newest.min(versions.len()) - 1) else { return };
    files.retain(|file, _| version_of(file).is_none_or(|version| version >= *oldest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(file, text)| ((*file).to_owned(), d(text))).collect()
    }

    /// `-` is a file that is not here.
    fn wanted(files: &[(&str, &str)]) -> Wanted {
        let digest = |text: &str| (text != "-").then(|| d(text));
        files.iter().map(|(file, text)| ((*file).to_owned(), digest(text))).collect()
    }

    #[test]
    fn what_is_whole_is_published_and_what_is_the_same_is_not() {
        let files = [("1/model.onnx", "a"), ("model.toml", "t")];
        assert_eq!(next_tree(None, &wanted(&files)), Some(tree(&files)));
        assert_eq!(next_tree(Some(&tree(&files)), &wanted(&files)), None);
        // Versions that the source has no longer go, once what it has is here.
        let newer = [("2/model.onnx", "b"), ("model.toml", "t")];
        assert_eq!(next_tree(Some(&tree(&files)), &wanted(&newer)), Some(tree(&newer)));
    }

    #[test]
    fn an_old_version_stays_until_the_new_one_has_come() {
        let now = tree(&[("1/model.onnx", "a"), ("model.toml", "t")]);
        let newer = wanted(&[("2/model.onnx", "-"), ("model.toml", "t")]);
        assert_eq!(next_tree(Some(&now), &newer), None);
    }

    #[test]
    fn whole_versions_come_beside_one_that_does_not() {
        let now = tree(&[("1/model.onnx", "a"), ("model.toml", "t")]);
        let some = wanted(&[
            ("2/labels.txt", "l"),
            ("2/model.onnx", "-"),
            ("3/model.onnx", "c"),
            ("model.toml", "t"),
        ]);
        let expected = [("1/model.onnx", "a"), ("3/model.onnx", "c"), ("model.toml", "t")];
        assert_eq!(next_tree(Some(&now), &some), Some(tree(&expected)));
        assert_eq!(next_tree(None, &some), Some(tree(&expected[1..])));
        assert_eq!(next_tree(Some(&tree(&expected)), &some), None);
    }

    #[test]
    fn a_version_changes_whole() {
        let now = tree(&[("1/labels.txt", "l"), ("1/model.onnx", "a")]);
        let half = wanted(&[("1/labels.txt", "new"), ("1/model.onnx", "-"), ("2/model.onnx", "b")]);
        let expected = [("1/labels.txt", "l"), ("1/model.onnx", "a"), ("2/model.onnx", "b")];
        assert_eq!(next_tree(Some(&now), &half), Some(tree(&expected)));
    }

    #[test]
    fn no_version_comes_before_the_shared_files_that_it_may_need() {
        let now = tree(&[("1/model.onnx", "a"), ("model.toml", "t")]);
        // The new model.toml is here, but a version that it may speak of is not.
        let changed =
            wanted(&[("2/model.onnx", "-"), ("3/model.onnx", "c"), ("model.toml", "new")]);
        assert_eq!(next_tree(Some(&now), &changed), None);
        // It is not here, and the version is.
        for now in [Some(&now), None] {
            let lacking = wanted(&[("2/model.onnx", "b"), ("model.toml", "-")]);
            assert_eq!(next_tree(now, &lacking), None);
        }
        // Nothing of a new model is whole.
        assert_eq!(next_tree(None, &wanted(&[("1/model.onnx", "-"), ("model.toml", "t")])), None);
    }

    #[test]
    fn the_newest_versions_are_kept_with_what_they_share() {
        let files = ["1/a", "2/a", "10/a", "10/b", "model.toml"];
        let kept = |newest| {
            let mut files = files.map(|f| (f.to_owned(), ())).into();
            keep_newest(&mut files, newest);
            files.into_keys().collect::<BTreeSet<_>>()
        };
        let of = |files: &[&str]| files.iter().map(|f| (*f).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(kept(0), of(&files));
        assert_eq!(kept(1), of(&["10/a", "10/b", "model.toml"]));
        assert_eq!(kept(2), of(&["2/a", "10/a", "10/b", "model.toml"]));
        assert_eq!(kept(9), of(&files));
    }
}
