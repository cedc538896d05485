//! The keys' file: names, hashes of tokens, rights and rates. Read again when it changes.
//!
//! Tokens are random and long, so a plain SHA-256 keeps them: nobody guesses what it hides. A token
//! is compared with every key, in a time that tells nothing of how near it came.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::rate::Limiter;
use crate::config::toml_error;
use crate::digest::Digest;
use crate::error::InferError;
use crate::protocol::files::Files;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Ask models, and about them.
    Predict,
    /// See and change where traffic goes.
    Admin,
}

impl Right {
    /// As the file has it.
    pub const fn name(self) -> &'static str {
        match self {
            Right::Predict => "predict",
            Right::Admin => "admin",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    sha256: String,
    rights: Vec<Right>,
    rate: Option<f64>,
    burst: Option<u32>,
}

/// A key as it is used.
pub(super) struct Key {
    pub(super) name: Arc<str>,
    digest: Digest,
    rights: Vec<Right>,
    limiter: Option<Limiter>,
}

impl Key {
    /// Refuses a key that lacks the right.
    pub(super) fn demand(&self, right: Right) -> Result<(), InferError> {
        if self.rights.contains(&right) {
            return Ok(());
        }
        let (name, right) = (&self.name, right.name());
        Err(InferError::PermissionDenied(format!("key `{name}` has no right to `{right}`")))
    }

    /// Counts a request, or tells when there is room for one.
    pub(super) fn admit(&self) -> Result<(), InferError> {
        let Some(Err(retry_after)) = self.limiter.as_ref().map(Limiter::take) else {
            return Ok(());
        };
        Err(InferError::RateLimited { key: self.name.to_string(), retry_after })
    }

    fn is_as(&self, other: &Key) -> bool {
        let limits = match (&self.limiter, &other.limiter) {
            (None, None) => true,
            (Some(a), Some(b)) => a.allows_as(b),
            _ => false,
        };
        limits
            && self.digest == other.digest
            && self.name == other.name
            && self.rights == other.rights
    }
}

/// The keys in force.
pub struct Access {
    path: PathBuf,
    keys: ArcSwap<Vec<Arc<Key>>>,
}

impl Access {
    /// Reads the file, and reads it again whenever it changes. What is broken then is told, and
    /// the keys from before stay.
    pub fn start(path: &Path) -> Result<Arc<Access>, String> {
        let files = Files::look(vec![path.to_owned()]);
        let keys = ArcSwap::from_pointee(load(path)?);
        let access = Arc::new(Access { path: path.to_owned(), keys });
        files.follow("API keys", &access, |access| {
            let keys = renew(&access.keys.load(), load(&access.path)?);
            access.keys.store(Arc::new(keys));
            Ok(())
        });
        Ok(access)
    }

    /// The key whose token this is, if it has the right and its rate allows the request.
    pub(super) fn admit(&self, token: Option<&[u8]>, right: Right) -> Result<Arc<Key>, InferError> {
        let token = token.ok_or_else(|| {
            let message = "no key came: send `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`";
            InferError::Unauthenticated(message.to_owned())
        })?;
        let found = find(&self.keys.load(), token);
        let key = found
            .ok_or_else(|| InferError::Unauthenticated("the key is not known here".to_owned()))?;
        key.demand(right)?;
        key.admit()?;
        Ok(key)
    }
}

/// What the file keeps of a token: its SHA-256 in hexadecimal digits.
pub fn hash(token: &[u8]) -> String {
    Digest::of(token).to_string()
}

/// Looks at every key, whichever fits.
fn find(keys: &[Arc<Key>], token: &[u8]) -> Option<Arc<Key>> {
    let digest = Digest::of(token);
    let mut found = u64::MAX;
    for (at, key) in (0u64..).zip(keys) {
        found.conditional_assign(&at, key.digest.bytes()[..].ct_eq(&digest.bytes()[..]));
    }
    keys.get(usize::try_from(found).ok()?).cloned()
}

/// New keys, of which those that are as before keep what they have used up.
fn renew(old: &[Arc<Key>], new: Vec<Arc<Key>>) -> Vec<Arc<Key>> {
    let same = |key: Arc<Key>| old.iter().find(|o| o.is_as(&key)).cloned().unwrap_or(key);
    new.into_iter().map(same).collect()
}

fn load(path: &Path) -> Result<Vec<Arc<Key>>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        format!("can't read {}: {e}; name the file of keys with --keys-file", path.display())
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Arc<Key>>, String> {
    let file: KeysFile = toml::from_str(text).map_err(|e| toml_error(path, text, &e))?;
    let wrong = |name: &str, what: &str| format!("{}: key `{name}`: {what}", path.display());
    if file.key.is_empty() {
        let path = path.display();
        return Err(format!("{path}: there is no [[key]]; `ocelli keys new` makes one"));
    }
    let (mut names, mut digests) = (HashSet::new(), HashSet::new());
    let mut keys = Vec::with_capacity(file.key.len());
    for entry in file.key {
        let name = entry.name.as_str();
        let digest: Digest = (entry.sha256.parse())
            .map_err(|_| wrong(name, "`sha256` must be 64 hexadecimal digits"))?;
        if name.is_empty() || !names.insert(entry.name.clone()) {
            return Err(wrong(name, "give every key a name of its own"));
        }
        if !digests.insert(digest) {
            return Err(wrong(name, "another key has the same `sha256`"));
        }
        let limiter = match (entry.rate, entry.burst) {
            (Some(rate), burst) => Some(Limiter::new(rate, burst).map_err(|e| wrong(name, e))?),
            (None, Some(_)) => return Err(wrong(name, "`burst` says nothing without `rate`")),
            (None, None) => None,
        };
        let name = name.into();
        keys.push(Arc::new(Key { name, digest, rights: entry.rights, limiter }));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Vec<Arc<Key>>, String> {
        parse(Path::new("keys.toml"), text)
    }

    fn entry(name: &str, token: &str, more: &str) -> String {
        let sha256 = hash(token.as_bytes());
        format!(
            "[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrights = [\"predict\"]\n{more}\n"
        )
    }

    fn access(text: &str) -> Access {
        Access { path: PathBuf::new(), keys: ArcSwap::from_pointee(keys(text).unwrap()) }
    }

    #[test]
    fn the_hash_is_sha_256_as_others_print_it() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc"), expected);
        let unhex = |text: &str| text.parse::<Digest>().ok().map(|digest| *digest.bytes());
        assert_eq!(unhex(expected).unwrap()[..2], [0xba, 0x78]);
        assert_eq!(unhex(&expected.to_uppercase()), unhex(expected));
        assert!(unhex(&expected[1..]).is_none() && unhex(&expected.replace('b', "ü")).is_none());
    }

    #[test]
    fn a_token_finds_its_key_and_no_other() {
        let text = entry("a", "ta", "") + &entry("b", "tb", "") + &entry("c", "tc", "");
        let access = access(&text);
        for name in ["a", "b", "c"] {
            let key = access.admit(Some(format!("t{name}").as_bytes()), Right::Predict).unwrap();
            assert_eq!(&*key.name, name);
        }
        for token in [&b"t"[..], b"", b"ta ", hash(b"ta").as_bytes()] {
            let told = access.admit(Some(token), Right::Predict).err().unwrap();
            assert!(matches!(told, InferError::Unauthenticated(_)));
        }
        let told = access.admit(Some(b"ta"), Right::Admin).err().unwrap();
        assert_eq!(told.to_string(), "key `a` has no right to `admin`");
        assert!(matches!(access.admit(None, Right::Admin), Err(InferError::Unauthenticated(_))));
    }

    #[test]
    fn a_key_that_stays_as_it_was_keeps_what_it_has_used_up() {
        let limit = "rate = 0.001\nburst = 1";
        let old = keys(&(entry("a", "ta", limit) + &entry("b", "tb", limit))).unwrap();
        assert!(old.iter().all(|key| key.admit().is_ok() && key.admit().is_err()));
        let more = "rate = 0.001\nburst = 2";
        let new = keys(&(entry("b", "tb", more) + &entry("a", "ta", limit))).unwrap();
        let new = renew(&old, new);
        assert!(find(&new, b"ta").unwrap().admit().is_err());
        assert!(find(&new, b"tb").unwrap().admit().is_ok());
    }

    #[test]
    fn mistakes_are_told_with_the_key_s_name() {
        let one = entry("a", "ta", "");
        for (text, says) in [
            (one.replace("rights", "right"), "did you mean `rights`?"),
            (one.replace("predict", "predit"), "predit"),
            (one.replace("sha256 = \"", "sha256 = \"0"), "key `a`: `sha256`"),
            (one.clone() + &entry("a", "tb", ""), "a name of its own"),
            (one.clone() + &entry("b", "ta", ""), "key `b`: another key"),
            (entry("a", "ta", "burst = 2"), "without `rate`"),
            (entry("a", "ta", "rate = 0.0"), "key `a`: `rate`"),
            (String::new(), "ocelli keys new"),
        ] {
            let error = keys(&text).err().unwrap();
            assert!(error.starts_with("keys.toml") && error.contains(says), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
