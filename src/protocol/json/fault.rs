//! What went wrong on the way, before it is told where.

use jiter::{Jiter, JiterError};

use super::element::Refused;
use crate::tensor::DType;

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

/// A fault in a body. Those of syntax know their offset; the others stand where the parser does.
#[derive(Debug)]
pub struct Fault {
    message: String,
    at: Option<usize>,
}

impl Fault {
    /// A fault that is none of syntax.
    pub fn new(message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at: None }
    }

    /// The fault of what stands at `path` for an element of `dtype`; `or` tells what else may.
    #[cold]
    pub fn refused(refused: Refused, dtype: DType, path: &str, or: &str) -> Fault {
        match refused {
            Refused::Json(error) => Fault::from(error),
            Refused::Range(text) => {
                Fault::new(format!("{path}: {text} is out of the range of {dtype}"))
            }
            Refused::Is(got) => Fault::new(format!("{path}: expected {dtype}{or}, got {got}")),
        }
    }

    /// Of a parser that went back to what was passed over: it stands elsewhere than the main one.
    pub fn met_by(mut self, json: &Jiter<'_>) -> Fault {
        self.at.get_or_insert_with(|| json.current_index());
        self
    }

    /// The message with its line and column.
    pub fn locate(self, json: &Jiter<'_>) -> JsonError {
        let position = json.error_position(self.at.unwrap_or_else(|| json.current_index()));
        JsonError(format!("{} at {position}", self.message))
    }
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Fault {
        let message = format!("JSON Parse error: {}", error.error_type);
        Fault { message, at: Some(error.index) }
    }
}
