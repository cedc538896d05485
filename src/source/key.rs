//! The path of a model's file in a source: `NAME/model.toml`, `NAME/3/model.onnx`.
//!
//! A [`Key`] is made by parsing alone, so that whatever a bucket or a manifest says, what is joined to
//! a local directory stays in it.

use std::fmt;

use super::plan::version_of;

/// As the file system bounds it.
const PART_BYTES: usize = 255;
const PARTS: usize = 10;

/// A model's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    model: String,
    file: String,
}

/// Why a path is no [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It is a fine path, of something that is no part of a model: it is left alone.
    Foreign,
    /// It could lead elsewhere.
    Unsafe(&'static str),
}

impl Key {
    /// Reads a path, whose parts are divided by `/`.
    pub fn parse(path: &str) -> Result<Key, NoKey> {
        let parts: Vec<&str> = path.split('/').collect();
        parts.iter().try_for_each(|part| check(part).map_err(NoKey::Unsafe))?;
        if parts.len() > PARTS || parts.iter().any(|part| part.starts_with('.')) {
            return Err(NoKey::Foreign);
        }
        let fits = match parts[..] {
            // A file named like a version would be in a version's place.
            [_, file] => version_of(file).is_none(),
            [_, version, _, ..] => version_of(version).is_some(),
            _ => false,
        };
        if !fits {
            return Err(NoKey::Foreign);
        }
        Ok(Key { model: parts[0].to_owned(), file: parts[1..].join("/") })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The path within the model's directory.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.file)
    }
}

fn check(part: &str) -> Result<(), &'static str> {
    match part {
        "" => Err("it has an empty part"),
        "." | ".." => Err("it has a part that is . or .."),
        _ if part.len() > PART_BYTES => Err("a part is longer than 255 bytes"),
        _ if part.contains('\\') => Err("it has a backslash"),
        _ if part.chars().any(char::is_control) => Err("it has a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_models_files_are_told_from_others() {
        for (path, model, file) in [
            ("m/model.toml", "m", "model.toml"),
            ("m/3/model.onnx", "m", "3/model.onnx"),
            ("a b/12/golden/1/cat.jpg", "a b", "12/golden/1/cat.jpg"),
        ] {
            let key = Key::parse(path).unwrap();
            assert_eq!((key.model(), key.file(), key.to_string().as_str()), (model, file, path));
        }
        for path in [
            "README.md",
            "m/3",
            "m/docs/a.md",
            "m/03/model.onnx",
            ".git/1/x",
            "m/1/.x",
            "m/.x",
            "1/2/3/4/5/6/7/8/9/10/11",
        ] {
            assert_eq!(Key::parse(path), Err(NoKey::Foreign), "{path}");
        }
        for path in [
            "",
            "/m/model.toml",
            "m//x",
            "m/1/",
            "../m/x",
            "m/1/../../x",
            "m/./x",
            "m/a\\b",
            "m/\n",
        ] {
            assert!(matches!(Key::parse(path), Err(NoKey::Unsafe(_))), "{path}");
        }
        assert!(matches!(Key::parse(&format!("m/{}", "x".repeat(256))), Err(NoKey::Unsafe(_))));
    }

    proptest! {
        #[test]
        fn what_is_a_key_stays_below_where_it_is_joined(path in "[a1./\\\\\u{0}é ]{0,20}") {
            if let Ok(key) = Key::parse(&path) {
                prop_assert_eq!(key.to_string(), path.clone());
                let joined = Path::new(key.model()).join(key.file());
                prop_assert!(joined.components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert_eq!(joined.components().count(), path.split('/').count());
            }
        }
    }
}
