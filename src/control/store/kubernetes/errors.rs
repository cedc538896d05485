//! What the API's refusals mean.

use std::error::Error;

/// What to do about a write that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else wrote since: read again.
    Raced,
    /// It won't be written, whoever asks.
    Content,
    /// It won't be written for us.
    Final,
    /// It may have been written.
    Unsure,
}

/// What a failed write means.
pub fn refusal(error: &kube::Error) -> Refusal {
    let kube::Error::Api(status) = error else { return Refusal::Unsure };
    match status.code {
        // Gone since it was read, or made since it was not there.
        404 if status.reason == "NotFound" && is_map(status) => Refusal::Raced,
        409 => Refusal::Raced,
        400 | 413 | 422 => Refusal::Content,
        429 | 500.. => Refusal::Unsure,
        _ => Refusal::Final,
    }
}

/// A namespace that does not exist is `NotFound` too.
fn is_map(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|d| d.kind == "configmaps")
}

/// Whether the API has forgotten the version that was asked for.
pub fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

/// An error in words, with its causes.
pub fn told(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, reason: &str) -> kube::Error {
        let status = Status { code, reason: reason.to_owned(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn only_races_are_run_again_without_doubt() {
        assert_eq!(refusal(&api(409, "Conflict")), Refusal::Raced);
        assert_eq!(refusal(&api(404, "NotFound")), Refusal::Final);
        assert_eq!(refusal(&api(403, "Forbidden")), Refusal::Final);
        assert_eq!(refusal(&api(422, "Invalid")), Refusal::Content);
        assert_eq!(refusal(&api(503, "")), Refusal::Unsure);
        assert_eq!(refusal(&kube::Error::LinesCodecMaxLineLengthExceeded), Refusal::Unsure);
    }
}
