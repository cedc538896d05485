//! What can be wrong with an image, a declaration or a model's answer.

/// Why an image could not become a tensor, or a model's output an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VisionError {
    /// The first bytes are of no format that is read here.
    #[error("expected a JPEG, PNG, WebP or GIF image, got {0}")]
    UnknownFormat(String),
    /// The encoded image is longer than allowed.
    #[error("the image is {got} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Encoded bytes that came.
        got: usize,
        /// Encoded bytes that are allowed.
        limit: usize,
    },
    /// The header announces more pixels than allowed; none was decoded.
    #[error("the image is {width}x{height} pixels, more than the {limit} pixels allowed")]
    TooManyPixels {
        /// Width in the header.
        width: u32,
        /// Height in the header.
        height: u32,
        /// Allowed width × height.
        limit: u64,
    },
    /// The file is damaged, cut short, or uses a feature that is not supported.
    #[error("can't decode the {format} image: {reason}")]
    Decode {
        /// The format its first bytes announce.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A value in `[input]` or `[output]` makes no sense whatever the model.
    #[error("{0}")]
    Spec(String),
    /// `[input]` does not fit the model.
    #[error("[input] declares {declared}, but the model's input is `{actual}`")]
    Input {
        /// What `model.toml` says.
        declared: String,
        /// What the model says.
        actual: String,
    },
    /// `[output]` does not fit the model.
    #[error("[output] declares {declared}, but the model's {actual}")]
    Output {
        /// What `model.toml` says.
        declared: String,
        /// What the model says.
        actual: String,
    },
    /// The tensors of a run are not those of the signature.
    #[error("the model answered with {got}, expected {expected}")]
    Answer {
        /// What the signature promised.
        expected: String,
        /// What came.
        got: String,
    },
}

impl VisionError {
    /// Whether another image would have helped; otherwise the model or its declaration is at
    /// fault.
    pub fn is_callers_fault(&self) -> bool {
        match self {
            VisionError::UnknownFormat(_)
            | VisionError::TooLarge { .. }
            | VisionError::TooManyPixels { .. }
            | VisionError::Decode { .. } => true,
            VisionError::Spec(_)
            | VisionError::Input { .. }
            | VisionError::Output { .. }
            | VisionError::Answer { .. } => false,
        }
    }
}
