//! TOML mistakes told in one line: the file, the line, and the nearest key for an unknown one.

use std::path::Path;

/// One line for a parse error: `model.toml:7: unknown key ...; did you mean ...?`
pub fn toml_error(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|b| **b == b'\n').count()
    });
    format!("{}:{line}: {}", path.display(), explain(error.message()))
}

/// A parser's words, with the nearest key for an unknown one, which serde words as "unknown field `x`,
/// expected one of `a`, `b`".
pub fn explain(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let Some(rest) = message.strip_prefix("unknown field ") else { return message };
    let mut names = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next() else { return message };
    let known: Vec<&str> = names.collect();
    match nearest(unknown, known.iter().copied()) {
        Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
        None => format!("unknown key `{unknown}`; there is none here"),
    }
}

/// The known name that looks most like `name`.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.max_by(|a, b| {
        let like = |k: &str| strsim::jaro_winkler(name, k);
        like(a).total_cmp(&like(b))
    })
}
