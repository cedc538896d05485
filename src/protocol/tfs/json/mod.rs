//! The JSON of TensorFlow Serving's REST API (g3doc/api_rest.md, util/json_tensor.cc).
//!
//! Requests are parsed straight into the tensors' flat buffers by `jiter`'s pull parser, without
//! a tree in between; answers are written straight from them. The JSON is not strict: `NaN`,
//! `Infinity` and `-Infinity` are numbers, as they are there.

mod collect;
mod element;
mod encode;
mod fault;
mod parse;

pub use encode::{encode_classify, encode_predict, encode_regress};
pub use parse::{parse_examples, parse_predict};

use crate::input::InputValue;

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

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);
