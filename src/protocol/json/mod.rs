//! What the JSON of all protocols has in common: an element's text into its bytes and back, and
//! faults that tell where they stand.
//!
//! Requests are parsed straight into the tensors' flat buffers by `jiter`'s pull parser, without
//! a tree in between; answers are written straight from them. The JSON is not strict: `NaN`,
//! `Infinity` and `-Infinity` are numbers, as they are to TensorFlow Serving and to Triton, which
//! both set RapidJSON's `NanAndInf` flags to read and to write them.

#[cfg(test)]
pub mod arbitrary;
pub mod element;
mod fault;
pub mod write;

pub use fault::{Fault, JsonError};

/// Nesting of arrays at most: no tensor has more dimensions.
pub const MAX_DEPTH: usize = 16;
