//! What a caller gives for one input.

use bytes::Bytes;

use crate::tensor::Tensor;

/// A tensor, or encoded images for the server to decode, one a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputValue {
    /// Elements, ready for the model.
    Tensor(Tensor),
    /// JPEG, PNG, WebP or GIF files.
    Images(Vec<Bytes>),
}

impl InputValue {
    /// Bytes of its elements, or of its images as they came.
    pub fn bytes(&self) -> usize {
        match self {
            InputValue::Tensor(tensor) => tensor.data().len(),
            InputValue::Images(images) => images.iter().map(Bytes::len).sum(),
        }
    }
}
