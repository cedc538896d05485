//! What went wrong on the way, before it is told where.

use jiter::{Jiter, JiterError};

use super::JsonError;

/// A fault in a body. Those of syntax know their offset; the others stand where the parser does.
pub(super) struct Fault {
    message: String,
    at: Option<usize>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at: None }
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
