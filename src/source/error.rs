//! What goes wrong between a source and its mirror, each with the word by which it is counted.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use object_store::client::{HttpError, HttpErrorKind};

use crate::digest::Digest;

/// Bytes of a store's own words that are told; some send pages.
const WORDS: usize = 400;

/// Why a source, or an object of it, can't be had. `object` is its URL; the other fields are what the
/// messages say of them.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SourceError {
    /// Nobody is there.
    #[error("{object} can't be reached: {why}")]
    Unreachable { object: String, why: String },
    /// The store does not let this server in.
    #[error("{object} is forbidden to {credentials}: {why}")]
    Forbidden { object: String, credentials: String, why: String },
    /// It is not there.
    #[error("{object} does not exist (asked with {credentials})")]
    NotFound { object: String, credentials: String },
    /// The store failed.
    #[error("{object}: the store failed: {why}")]
    Store { object: String, why: String },
    /// Fewer bytes came than there are, or more.
    #[error("{object}: expected {expected} bytes, {came} came{why}")]
    Truncated { object: String, expected: u64, came: u64, why: String },
    /// Other bytes came than those that the manifest tells of.
    #[error("{object}: expected the SHA-256 {expected}, what came has {came}")]
    WrongDigest { object: String, expected: Digest, came: Digest },
    /// It comes too slowly.
    #[error("{object}: stalled: {came} bytes came, and less than {least} in the last {seconds} s")]
    Stalled { object: String, came: u64, least: u64, seconds: f64 },
    /// It is larger than files may be.
    #[error("{object} has {bytes} bytes, more than --source-max-file-bytes {most}")]
    TooLarge { object: String, bytes: u64, most: u64 },
    /// The disk is full, or not writable.
    #[error("can't write the model cache, {path}: {source}; {advice}")]
    Disk { path: PathBuf, source: std::io::Error, advice: &'static str },
    /// Another process uses the cache.
    #[error("another process uses the model cache {0}: name another one with --model-cache")]
    Locked(PathBuf),
    /// The manifest is wrong.
    #[error("{object}: {why}")]
    Manifest { object: String, why: String },
    /// There must be a manifest.
    #[error("{object} does not exist, and {why}: write one with `ocelli manifest DIR`")]
    NoManifest { object: String, why: &'static str },
    /// The manifest is not signed by anybody who is trusted.
    #[error("{object}: {why}; --trusted-key asks for a minisign signature beside it")]
    Signature { object: String, why: String },
    /// A source that has nothing is likelier to be broken than meant.
    #[error("{source_url} lists no model, so what is here stays; an empty manifest would say so")]
    Empty { source_url: String },
    /// A URL that can't be used.
    #[error("{url}: {why}")]
    Url { url: String, why: String },
}

impl SourceError {
    /// The label of `ocelli_source_failures_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            SourceError::Unreachable { .. } => "unreachable",
            SourceError::Forbidden { .. } => "forbidden",
            SourceError::NotFound { .. } => "not_found",
            SourceError::Store { .. } => "store",
            SourceError::Truncated { .. } => "truncated",
            SourceError::WrongDigest { .. } => "digest",
            SourceError::Stalled { .. } => "stalled",
            SourceError::TooLarge { .. } => "too_large",
            SourceError::Disk { .. } | SourceError::Locked(_) => "disk",
            SourceError::Manifest { .. }
            | SourceError::NoManifest { .. }
            | SourceError::Url { .. } => "manifest",
            SourceError::Signature { .. } => "signature",
            SourceError::Empty { .. } => "empty",
        }
    }

    /// A file of the cache can't be written.
    pub fn disk(path: &Path, source: std::io::Error) -> SourceError {
        let advice = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "give it a larger disk, or mirror fewer versions with --source-versions"
            }
            _ => "name another directory with --model-cache",
        };
        SourceError::Disk { path: path.to_owned(), source, advice }
    }

    /// What a store says, of an object and what was shown to get it.
    pub fn of(error: &object_store::Error, object: &str, credentials: &str) -> SourceError {
        let (object, why) = (object.to_owned(), plain(&error.to_string()));
        let credentials = credentials.to_owned();
        match error {
            object_store::Error::NotFound { .. } => SourceError::NotFound { object, credentials },
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                SourceError::Forbidden { object, credentials, why }
            }
            error => match (status(&why), transport(error)) {
                (Some(401 | 403), _) => SourceError::Forbidden { object, credentials, why },
                (Some(404), _) => SourceError::NotFound { object, credentials },
                (None, Some(HttpErrorKind::Connect | HttpErrorKind::Timeout)) => {
                    SourceError::Unreachable { object, why }
                }
                _ => SourceError::Store { object, why },
            },
        }
    }
}

/// The status of a listing that was refused: `object_store` tells it in words alone.
fn status(why: &str) -> Option<u16> {
    why.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// What went wrong below HTTP, if something did.
fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = error.source();
    }
    None
}

/// One line, bounded, without the queries of URLs, in which keys may be.
fn plain(words: &str) -> String {
    let words = words.split_whitespace().map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url,
        _ => word,
    });
    let mut line = words.collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(WORDS));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_store_are_one_short_line_without_secrets() {
        let told =
            plain("GET\n https://h/m.onnx?X-Amz-Signature=secret in 1s - who? <Code>No</Code>");
        assert_eq!(told, "GET https://h/m.onnx in 1s - who? <Code>No</Code>");
        assert_eq!(plain(&"é".repeat(1000)).len(), WORDS);
    }

    #[test]
    fn a_listing_that_is_refused_is_told_from_one_that_fails() {
        let told = |status: &str| {
            let words = format!("Server returned non-2xx status code: {status}: <Error>");
            let source = Box::new(std::io::Error::other(words));
            let error = object_store::Error::Generic { store: "S3", source };
            SourceError::of(&error, "s3://b", "the key in AWS_ACCESS_KEY_ID").reason()
        };
        let reasons = ["403 Forbidden", "401 Unauthorized", "404 Not Found", "500 Oh"].map(told);
        assert_eq!(reasons, ["forbidden", "forbidden", "not_found", "store"]);
    }

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = SourceError::disk(Path::new("/c/incoming/1"), full);
        assert_eq!(error.reason(), "disk");
        assert!(error.to_string().contains("larger disk"), "{error}");
    }
}
