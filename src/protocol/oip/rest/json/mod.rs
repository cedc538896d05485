//! The JSON of an inference request (`$inference_request` in inference_rest.md).
//!
//! Members may stand in any order, those not known are passed over, and those that are `null`
//! count as left out. The specification has no JSON for `FP16` and `BF16`, and Triton refuses it;
//! here they are numbers, both ways. `BYTES` are strings, whose UTF-8 is the element.

mod parse;
mod values;
mod walk;

pub use parse::parse;

use crate::protocol::oip::infer::{Parameters, Wanted};
use crate::tensor::DType;

/// What the JSON says.
#[derive(Debug, Default)]
pub struct Head {
    /// The caller's own name for the request.
    pub id: String,
    /// What is asked for as a whole.
    pub parameters: Parameters,
    /// In the order they stand in.
    pub inputs: Vec<Input>,
    /// The outputs that are wanted.
    pub outputs: Vec<Wanted>,
    /// Whether some tensor is said to lie in shared memory.
    pub shared_memory: bool,
}

/// An input.
#[derive(Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions, none of them 0.
    pub shape: Vec<usize>,
    /// Where its data is.
    pub source: Source,
}

/// Where an input's data is.
#[derive(Debug)]
pub enum Source {
    /// It stood in the JSON.
    Json(Vec<u8>),
    /// So many bytes behind the JSON.
    Binary(usize),
}
