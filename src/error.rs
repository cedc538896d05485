//! The one error of the data path, and its two total mappings: to HTTP and to gRPC.
//!
//! Every protocol answers with [`InferError::code`], so a fault has the same meaning at each door.
//! The codes are gRPC's, the HTTP statuses are those TensorFlow Serving gives for them
//! (`tensorflow_serving/model_servers/http_server.cc`).

use std::time::Duration;

use crate::engine::EngineError;

/// The kinds of failure that a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is wrong and will stay wrong.
    InvalidArgument,
    /// The body is larger than the server takes.
    TooLarge,
    /// The body's type is not one this door reads.
    UnsupportedMedia,
    /// No such model or version.
    NotFound,
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks is known, and may not.
    PermissionDenied,
    /// Who asks did so too often.
    ResourceExhausted,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// Can't be served now; the same request may succeed later.
    Unavailable,
    /// The change asked for contradicts what is there.
    FailedPrecondition,
    /// Somebody else changed the same thing first.
    Aborted,
    /// Known, and left out.
    Unimplemented,
    /// The server's own fault.
    Internal,
}

impl Code {
    /// The HTTP status.
    pub const fn http(self) -> u16 {
        match self {
            Code::InvalidArgument => 400,
            Code::TooLarge => 413,
            Code::UnsupportedMedia => 415,
            Code::NotFound => 404,
            Code::FailedPrecondition | Code::Aborted => 409,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::ResourceExhausted => 429,
            Code::DeadlineExceeded => 504,
            Code::Cancelled => 499,
            Code::Unavailable => 503,
            Code::Unimplemented => 501,
            Code::Internal => 500,
        }
    }

    /// The gRPC status code's number.
    pub const fn grpc(self) -> i32 {
        match self {
            Code::Cancelled => 1,
            Code::InvalidArgument | Code::UnsupportedMedia => 3,
            Code::DeadlineExceeded => 4,
            Code::NotFound => 5,
            Code::PermissionDenied => 7,
            Code::TooLarge | Code::ResourceExhausted => 8,
            Code::FailedPrecondition => 9,
            Code::Aborted => 10,
            Code::Unimplemented => 12,
            Code::Internal => 13,
            Code::Unavailable => 14,
            Code::Unauthenticated => 16,
        }
    }
}

/// Bytes of a message to a caller: a header must hold it.
const TOLD: usize = 2048;

/// Why a request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InferError {
    /// The model is not in the repository.
    #[error("Servable not found for request: Latest({0})")]
    UnknownModel(String),
    /// The model is there, this version of it isn't.
    #[error("Servable not found for request: Specific({model}, {version})")]
    UnknownVersion {
        /// Model asked for.
        model: String,
        /// Version asked for.
        version: u64,
    },
    /// A change names a model that has no directory.
    #[error("no model {model}: {directory} holds neither a version nor a model.toml")]
    NoSuchModel {
        /// Model named.
        model: String,
        /// Where it would be.
        directory: String,
    },
    /// No rollout of the model is known.
    #[error("model {0} has no rollout, nor had one that is still in its history")]
    NoRollout(String),
    /// The model gives no version this label.
    #[error("Unrecognized servable version label: {label} of model {model}")]
    UnknownLabel {
        /// Model asked for.
        model: String,
        /// Label asked for.
        label: String,
    },
    /// The model is known but nothing of it can serve.
    #[error("model {model} has no version available: {reason}")]
    NotAvailable {
        /// Model asked for.
        model: String,
        /// What its versions are doing instead.
        reason: String,
    },
    /// The model is loaded when a request asks for it, and isn't now.
    #[error("model {0} is loaded on demand and is not loaded now")]
    NotLoaded(String),
    /// A model can't be loaded on demand, since what is loaded and in use leaves it no room.
    #[error(
        "model {model} can't be loaded now: its files take {needs} bytes, and {used} of the {budget} of \
         model_memory_bytes are in use"
    )]
    NoRoom {
        /// Model asked for.
        model: String,
        /// Bytes of its files.
        needs: u64,
        /// Bytes of the files of what is loaded and can't make room.
        used: u64,
        /// The setting.
        budget: u64,
    },
    /// The request does not fit the model or the protocol.
    #[error("{0}")]
    Invalid(String),
    /// The body is over the limit.
    #[error("the body is larger than the {limit} bytes this server takes (--max-body-bytes)")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body's content type or encoding can't be read.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// The queue is at its bound.
    #[error("{model} version {version}: the queue is full ({queued} of {limit} rows)")]
    QueueFull {
        /// Model.
        model: String,
        /// Version.
        version: u64,
        /// Rows that wait.
        queued: usize,
        /// Rows that may wait.
        limit: usize,
        /// When there should be room.
        retry_after: Duration,
    },
    /// An answer would come too late, so nothing was begun.
    #[error(
        "{model} version {version}: an answer would take {takes:.1?}, and miss {misses}; try again later"
    )]
    TooLate {
        /// Model.
        model: String,
        /// Version.
        version: u64,
        /// The time it would take.
        takes: Duration,
        /// What that is too much for.
        misses: &'static str,
        /// When there should be time.
        retry_after: Duration,
    },
    /// The preprocessing pool is at its bound.
    #[error("too many images wait to be decoded ({0}); try again shortly")]
    DecodersBusy(usize),
    /// Bodies that are held together are at their bound.
    #[error("too many request bodies are held in memory (--max-buffered-bytes); try again shortly")]
    BodiesFull,
    /// Loads and unloads that wait are at their bound.
    #[error("{0} loads and unloads wait already; try again shortly")]
    CommandsFull(usize),
    /// The deadline passed before an answer was there.
    #[error("{model} version {version}: no answer within {timeout:?}")]
    DeadlineExceeded {
        /// Model.
        model: String,
        /// Version.
        version: u64,
        /// The time the request had.
        timeout: Duration,
    },
    /// The request itself did not come in time.
    #[error("{0}")]
    Late(String),
    /// The engine failed on this request alone.
    #[error("{model} version {version}: {source}")]
    Engine {
        /// Model.
        model: String,
        /// Version.
        version: u64,
        /// The engine's error.
        source: EngineError,
    },
    /// The change contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Somebody else was faster.
    #[error("{0}")]
    Raced(String),
    /// What keeps or counts traffic can't be reached; nothing was changed.
    #[error("{0}")]
    Store(String),
    /// No key came, or one that is not known.
    #[error("{0}")]
    Unauthenticated(String),
    /// The key does not have the right.
    #[error("{0}")]
    PermissionDenied(String),
    /// The key's rate is used up.
    #[error("key `{key}`: more requests than its rate allows")]
    RateLimited {
        /// The key's name.
        key: String,
        /// When the next request will be taken.
        retry_after: Duration,
    },
    /// A part of a protocol that is left out on purpose.
    #[error("{0}")]
    Unimplemented(String),
    /// The server is stopping.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl InferError {
    /// The kind of failure.
    pub fn code(&self) -> Code {
        match self {
            InferError::UnknownModel(_)
            | InferError::UnknownVersion { .. }
            | InferError::NoRollout(_)
            | InferError::NoSuchModel { .. } => Code::NotFound,
            InferError::UnknownLabel { .. } | InferError::Invalid(_) => Code::InvalidArgument,
            InferError::TooLarge { .. } => Code::TooLarge,
            InferError::UnsupportedMedia(_) => Code::UnsupportedMedia,
            InferError::NotAvailable { .. }
            | InferError::NotLoaded(_)
            | InferError::NoRoom { .. }
            | InferError::QueueFull { .. }
            | InferError::TooLate { .. }
            | InferError::DecodersBusy(_)
            | InferError::BodiesFull
            | InferError::CommandsFull(_)
            | InferError::Store(_)
            | InferError::ShuttingDown => Code::Unavailable,
            InferError::DeadlineExceeded { .. } | InferError::Late(_) => Code::DeadlineExceeded,
            InferError::Conflict(_) => Code::FailedPrecondition,
            InferError::Raced(_) => Code::Aborted,
            InferError::Unauthenticated(_) => Code::Unauthenticated,
            InferError::PermissionDenied(_) => Code::PermissionDenied,
            InferError::RateLimited { .. } => Code::ResourceExhausted,
            InferError::Unimplemented(_) => Code::Unimplemented,
            InferError::Engine { .. } | InferError::Internal(_) => Code::Internal,
        }
    }

    /// Whether another request for the same may fare better: it had too little time, or there was no room for it.
    pub fn is_of_one_request(&self) -> bool {
        use Code::{Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable};
        matches!(self.code(), Cancelled | DeadlineExceeded | ResourceExhausted | Unavailable)
    }

    /// The words for its caller. What a request calls things is repeated there, but not at any length.
    pub fn told(&self) -> String {
        let mut told = self.to_string();
        if told.len() > TOLD {
            told.truncate(told.floor_char_boundary(TOLD));
            told.push('…');
        }
        told
    }

    /// How long a refused caller should wait, where the server knows.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            InferError::QueueFull { retry_after, .. }
            | InferError::TooLate { retry_after, .. }
            | InferError::RateLimited { retry_after, .. } => Some(*retry_after),
            InferError::DecodersBusy(_)
            | InferError::BodiesFull
            | InferError::CommandsFull(_)
            | InferError::ShuttingDown
            | InferError::NotLoaded(_)
            | InferError::NoRoom { .. }
            | InferError::NotAvailable { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_not_repeated_at_its_length() {
        let told = InferError::UnknownModel("é".repeat(100_000)).told();
        assert!(
            told.starts_with("Servable not found for request: Latest(éé") && told.ends_with("é…")
        );
        assert!(told.len() < 2060, "{}", told.len());
        assert_eq!(InferError::ShuttingDown.told(), "the server is shutting down");
    }
}
