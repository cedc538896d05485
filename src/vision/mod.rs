//! Images into tensors, and logits into answers.
//!
//! A model that declares `[input] kind = "image"` takes a photo's encoded bytes, and one that
//! declares an `[output]` answers with labels instead of numbers. The repository uses this room
//! when it loads a model: it reads [`InputSpec`] and [`OutputSpec`] from `model.toml`, and builds
//! an [`ImagePipeline`] and an [`Answerer`], which check the declaration against the model's real
//! signature. The service uses both for every request. Nothing else does, and this room uses only
//! tensors and the engine's signature types.
//!
//! Everything here is plain computation on the calling thread: decoding a large photo takes tens
//! of milliseconds, so it is never to be called on a thread that serves connections.

mod answer;
mod classify;
mod decode;
mod detect;
mod error;
mod image;
mod input_spec;
mod jpeg;
mod normalise;
mod orient;
mod output_spec;
mod placement;
mod resize;
mod scaled;

pub use self::answer::{Answer, Answerer};
pub use self::classify::{Class, Classifier, best};
pub use self::decode::ImageLimits;
pub use self::detect::{Detection, Detector};
pub use self::error::VisionError;
pub use self::image::ImagePipeline;
pub use self::input_spec::{
    Colour, Decode, Filter, ImageSpec, InputSpec, Layout, PerChannel, ResizeMode, Size,
};
pub use self::output_spec::{
    BoxFormat, ClassificationSpec, Coordinates, DetectionSpec, OutputSpec,
};
pub use self::placement::Placement;
