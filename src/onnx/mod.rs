//! Reading ONNX files without running them (onnx.proto3 of github.com/onnx/onnx).
//!
//! `ocelli inspect` uses this; engines have readers of their own. Weights are slices of the
//! file's buffer.

mod summary;

pub use summary::{OnnxError, Summary};

/// The messages of proto/onnx.proto.
#[allow(missing_docs, clippy::all)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
