//! The user's cache directory, where things are kept that can be had again.

use std::path::PathBuf;

/// `ocelli` in it, if there is one.
pub fn cache_dir() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let dir = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")))?;
    Some(dir.join("ocelli"))
}
