//! What paths of all REST APIs have in common.

use percent_encoding::percent_decode_str;

/// A name as it stands in a path, percent-encoded; `None` for what can be no model's or label's.
pub fn name(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    Some(name).filter(|n| !n.is_empty() && !n.contains(['/', ':']))
}
