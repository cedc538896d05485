//! What every inference request carries in its headers: a deadline, a priority.

use std::time::Duration;

use axum::http::HeaderMap;

use crate::batcher::Priority;
use crate::error::InferError;

/// `x-request-timeout-ms` and `x-ocelli-priority` (`high`, `normal`, `low`).
pub fn deadline_and_priority(
    headers: &HeaderMap,
) -> Result<(Option<Duration>, Priority), InferError> {
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
    Ok((timeout, priority))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, InferError> {
    let text = headers.get(name).map(|v| v.to_str()).transpose();
    text.map_err(|_| InferError::Invalid(format!("{name} is not text")))
}
