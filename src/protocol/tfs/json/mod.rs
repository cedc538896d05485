//! The JSON of TensorFlow Serving's REST API (g3doc/api_rest.md, util/json_tensor.cc).
//!
//! What elements and faults look like is [the same](crate::protocol::json) for all protocols.

mod collect;
mod encode;
mod parse;

pub use encode::{encode_classify, encode_predict, encode_regress};
pub use parse::{parse_examples, parse_predict};

use crate::input::InputValue;
pub use crate::protocol::json::JsonError;

/// How rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `instances` in, `predictions` out: a list of rows.
    Row,
    /// `inputs` in, `outputs` out: a list an input.
    Columnar,
}

/// A parsed request.
#[derive(Debug)]
pub struct PredictRequest {
    /// The signature it names.
    pub signature_name: Option<String>,
    /// How the answer is to be laid out.
    pub form: Form,
    /// By input name.
    pub inputs: Vec<(String, InputValue)>,
}
