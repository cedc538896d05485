//! Where models are, and how those behind a URL are mirrored.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::{OptionalFile, cache_dir};
use crate::digest::Digest;
use crate::source::{Access, Place, SourceSettings, TrustedKeys};

/// Where models are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    /// In a directory.
    In(PathBuf),
    /// Behind a URL; they are mirrored into a directory.
    At(Place),
}

impl FromStr for Models {
    type Err = String;

    fn from_str(text: &str) -> Result<Models, String> {
        if Place::is_url(text) { text.parse().map(Models::At) } else { Ok(Models::In(text.into())) }
    }
}

impl fmt::Display for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Models::In(dir) => dir.display().fmt(f),
            Models::At(place) => place.fmt(f),
        }
    }
}

/// Settings of the mirror.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// Directory that keeps what was fetched, if --models is a URL; one process a directory. Empty:
    /// ocelli in the user's cache directory
    #[arg(
        long,
        env = "OCELLI_MODEL_CACHE",
        default_value = "",
        hide_default_value = true,
        value_name = "DIR"
    )]
    pub model_cache: OptionalFile,

    /// Milliseconds between looks at the source, give or take a tenth
    #[arg(long, env = "OCELLI_SOURCE_POLL_MS", default_value_t = 30_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
    pub source_poll_ms: u64,

    /// Milliseconds in which a source may send nothing, or next to nothing, before a fetch is given up
    #[arg(long, env = "OCELLI_SOURCE_STALL_MS", default_value_t = 20_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub source_stall_ms: u64,

    /// Bytes of a file of the source at most
    #[arg(long, env = "OCELLI_SOURCE_MAX_FILE_BYTES", default_value_t = 16 << 30,
          value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub source_max_file_bytes: u64,

    /// Versions of a model that are mirrored, the newest. 0 mirrors all
    #[arg(long, env = "OCELLI_SOURCE_VERSIONS", default_value_t = 0, value_name = "N")]
    pub source_versions: usize,

    /// PEM file of authorities to trust beside the system's when fetching
    #[arg(
        long,
        env = "OCELLI_SOURCE_CA",
        default_value = "",
        hide_default_value = true,
        value_name = "FILE"
    )]
    pub source_ca: OptionalFile,

    /// Fetch from http:// too, where who is on the way can change what comes
    #[arg(long, env = "OCELLI_SOURCE_ALLOW_HTTP", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub source_allow_http: bool,

    /// Fetch only files whose SHA-256 the source's manifest tells
    #[arg(long, env = "OCELLI_REQUIRE_DIGEST", default_value_t = false, value_name = "BOOL",
          action = clap::ArgAction::Set)]
    pub require_digest: bool,

    /// minisign public keys, with commas between; the source's manifest must be signed by one of them
    #[arg(
        long,
        env = "OCELLI_TRUSTED_KEY",
        default_value = "",
        hide_default_value = true,
        value_name = "KEYS"
    )]
    pub trusted_key: TrustedKeys,
}

impl SourceArgs {
    /// How a source is mirrored; `None` if there is no place for a cache.
    pub fn settings(&self, place: &Place) -> Option<SourceSettings> {
        let cache = match self.model_cache.path() {
            Some(dir) => dir.to_owned(),
            None => own_cache(&cache_dir()?, place),
        };
        let stall = Duration::from_millis(self.source_stall_ms);
        let ca = self.source_ca.path().map(Path::to_owned);
        Some(SourceSettings {
            place: place.clone(),
            cache,
            poll: Duration::from_millis(self.source_poll_ms),
            access: Access { stall, ca, allow_http: self.source_allow_http },
            most_bytes: self.source_max_file_bytes,
            newest: self.source_versions,
            require_digest: self.require_digest,
            keys: self.trusted_key.clone(),
        })
    }

    /// What is wrong with the settings together with the place of the models.
    pub(super) fn contradiction(&self, models: &Models) -> Option<&'static str> {
        match models {
            // Whoever sets them believes that files are checked.
            Models::In(_) if self.require_digest || !self.trusted_key.is_empty() => Some(
                "--require-digest and --trusted-key are for models behind a URL, and --models is \
                 a directory: write file:///DIR to have it mirrored and checked",
            ),
            Models::At(place) if place.url().scheme() == "http" && !self.source_allow_http => Some(
                "--models is http://, where who is on the way can change what comes: use https, or \
                 allow it with --source-allow-http true",
            ),
            _ => None,
        }
    }
}

/// Each source has a cache of its own.
fn own_cache(dir: &Path, place: &Place) -> PathBuf {
    dir.join("models").join(Digest::of(place.to_string().as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_in_a_directory_or_at_a_url() {
        assert_eq!("srv/models".parse(), Ok(Models::In("srv/models".into())));
        assert_eq!("s3://b/m".parse::<Models>().unwrap().to_string(), "s3://b/m");
        assert!("s4://b/m".parse::<Models>().unwrap_err().contains("s3://BUCKET"));
    }

    #[test]
    fn sources_share_no_cache() {
        let of = |url: &str| own_cache(Path::new("/c"), &url.parse().unwrap());
        assert_eq!(of("s3://b/m"), of("s3://b/m/"));
        assert_ne!(of("s3://b/m"), of("s3://b/n"));
        assert!(of("s3://b/m").starts_with("/c/models"));
    }
}
