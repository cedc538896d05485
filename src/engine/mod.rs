//! What computes: an [`Engine`] loads a model file, a [`Model`] runs batches.
//!
//! The batcher and the repository use this room; nothing outside it names an engine's own types.
//! An engine is added by implementing the two traits and listing it in [`Engines::find`].

mod batch;
mod cpu;
mod engines;
#[cfg(feature = "faults")]
mod faults;
mod format;
#[cfg_attr(
    not(any(feature = "onnxruntime", feature = "openvino")),
    allow(dead_code, reason = "no engine of such a build has a library")
)]
mod library;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(feature = "openvino")]
mod openvino;
mod options;
#[cfg(any(feature = "onnxruntime", feature = "openvino"))]
mod pool;
mod signature;
mod tract;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use batch::{Batch, BatchInput};
pub use cpu::Cpu;
pub use engines::{Engines, Libraries};
pub use format::Format;
pub use library::Library;
pub use options::{About, Found, LoadOptions, Precision};
pub use signature::{BatchMode, Dim, Signature, TensorSpec};

use crate::tensor::Tensor;

/// Loads model files.
pub trait Engine: Send + Sync {
    /// The name used in `model.toml`, in metrics and in messages.
    fn name(&self) -> &'static str;

    /// What there is of it on this machine. Loads its library, if it has one.
    fn about(&self) -> About;

    /// Whether it may be chosen without being named.
    fn competes(&self) -> bool {
        true
    }

    /// Whether it reads files of that format.
    fn reads(&self, format: Format) -> bool {
        format == Format::Onnx
    }

    /// What goes in and comes out by what its operators do to shapes, where the engine can tell that of a file
    /// without making it run.
    fn signature_of(&self, _file: &ModelFile<'_>) -> Option<Signature> {
        None
    }

    /// Parses and optimises a model. May take seconds: never called on the request path.
    fn load(
        &self,
        file: &ModelFile<'_>,
        options: &LoadOptions<'_>,
    ) -> Result<Arc<dyn Model>, EngineError>;
}

/// A loaded model. Several compute threads run it at once.
pub trait Model: Send + Sync {
    /// What goes in and what comes out.
    fn signature(&self) -> &Signature;

    /// Runs a batch. The outputs are in the signature's order; when the signature's batch mode
    /// is by rows, each has exactly `batch.rows` rows.
    fn run(&self, batch: &Batch) -> Result<Vec<Tensor>, EngineError>;

    /// The same for work that gives way to others. An engine that can stop between the steps of a run asks
    /// `pace` before each; the others ask once.
    fn run_paced(&self, batch: &Batch, pace: &dyn Pace) -> Result<Vec<Tensor>, EngineError> {
        if pace.go_on() { self.run(batch) } else { Err(EngineError::GaveWay) }
    }
}

/// Says when a run that gives way to others may go on.
pub trait Pace {
    /// Blocks while others need the cores. False: it took too long, and the run is to be given up.
    fn go_on(&self) -> bool;
}

/// A model file that was read once: what is parsed is what was hashed.
pub struct ModelFile<'a> {
    /// Where it came from; external data lies beside it.
    pub path: &'a Path,
    /// Its bytes.
    pub bytes: Bytes,
}

impl ModelFile<'_> {
    /// Its format, by its name.
    pub fn format(&self) -> Format {
        Format::of(self.path)
    }
}

/// Why an engine could not load or run a model.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The file is no model, or one this engine can't run.
    #[error("{engine} can't load the model: {reason}")]
    Load {
        /// The engine.
        engine: &'static str,
        /// Its own words.
        reason: String,
    },
    /// Its library isn't there, or is none that fits.
    #[error("{engine} isn't available: {reason}")]
    Unavailable {
        /// The engine.
        engine: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// The computation failed.
    #[error("{engine} failed: {reason}")]
    Run {
        /// The engine.
        engine: &'static str,
        /// Its own words.
        reason: String,
    },
    /// The engine panicked; the compute thread survived.
    #[error("{engine} panicked: {reason}")]
    Panic {
        /// The engine.
        engine: &'static str,
        /// The panic's message.
        reason: String,
    },
    /// Others needed the cores for too long.
    #[error("given up, since others needed the cores")]
    GaveWay,
    /// No engine of that name is built in.
    #[error("unknown engine `{name}`; known: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
}

/// Loads with the panic of a hostile file caught and told as an error.
pub fn load(
    engine: &dyn Engine,
    file: &ModelFile<'_>,
    options: &LoadOptions<'_>,
) -> Result<Arc<dyn Model>, EngineError> {
    let (name, format) = (engine.name(), file.format());
    if !engine.reads(format) {
        let reason = format!("it reads no {}", format.title());
        return Err(EngineError::Load { engine: name, reason });
    }
    guard(name, || engine.load(file, options))
}

/// Asks for a signature, with the panic of a hostile file caught.
pub fn signature_of(engine: &dyn Engine, file: &ModelFile<'_>) -> Option<Signature> {
    guard(engine.name(), || Ok(engine.signature_of(file))).ok()?
}

/// Runs with a panic caught and told as an error.
pub fn run(
    engine: &'static str,
    model: &dyn Model,
    batch: &Batch,
) -> Result<Vec<Tensor>, EngineError> {
    guard(engine, || model.run(batch))
}

/// Runs at a pace, with a panic caught and told as an error.
pub fn run_paced(
    engine: &'static str,
    model: &dyn Model,
    batch: &Batch,
    pace: &dyn Pace,
) -> Result<Vec<Tensor>, EngineError> {
    guard(engine, || model.run_paced(batch, pace))
}

fn guard<T>(
    engine: &'static str,
    f: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    // Engines keep no state of ours across a call, so nothing half-changed is seen afterwards.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "no message".to_owned());
        Err(EngineError::Panic { engine, reason })
    })
}
