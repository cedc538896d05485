//! What every inference request may ask for in its headers: a deadline, a priority, to be computed.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;

use crate::batcher::Priority;
use crate::error::InferError;

/// What a request asks for beside its inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks {
    /// The time it has: `x-request-timeout-ms`.
    pub timeout: Option<Duration>,
    /// Who goes first: `x-ocelli-priority` (`high`, `normal`, `low`).
    pub priority: Priority,
    /// Whether no answer that is kept will do: `cache-control: no-cache` or `no-store`.
    pub fresh: bool,
}

/// Reads them.
pub fn asks(headers: &HeaderMap) -> Result<Asks, InferError> {
    let timeout = match text(headers, "x-request-timeout-ms")? {
        None => None,
        Some(text) => match text.parse::<u64>() {
            Ok(ms) if (1..=3_600_000).contains(&ms) => Some(Duration::from_millis(ms)),
            _ => {
                return Err(InferError::Invalid(format!(
                    "x-request-timeout-ms: `{text}` is no number of milliseconds from 1 to 3600000"
                )));
            }
        },
    };
    let priority = match text(headers, "x-ocelli-priority")? {
        None | Some("normal") => Priority::Normal,
        Some("high") => Priority::High,
        Some("low") => Priority::Low,
        Some(other) => {
            return Err(InferError::Invalid(format!(
                "x-ocelli-priority: `{other}` is none of high, normal, low"
            )));
        }
    };
    let controls = headers.get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok());
    let mut controls = controls.flat_map(|text| text.split(',')).map(str::trim);
    let fresh =
        controls.any(|c| c.eq_ignore_ascii_case("no-cache") || c.eq_ignore_ascii_case("no-store"));
    Ok(Asks { timeout, priority, fresh })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, InferError> {
    let text = headers.get(name).map(|v| v.to_str()).transpose();
    text.map_err(|_| InferError::Invalid(format!("{name} is not text")))
}
