//! A version that is loaded and warm: all a request needs of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::batcher::{Place, Priority, Queue};
use crate::cache::Cache;
use crate::engine::{Format, Precision, Signature, TensorSpec};
use crate::error::InferError;
use crate::observe::drift::Monitor;
use crate::tensor::Tensor;
use crate::vision::{Answerer, ImagePipeline};

/// A model version in service. Dropping the last holder closes its queue and frees the model.
pub struct ServedVersion {
    /// Who it is.
    pub info: VersionInfo,
    /// Where its requests wait.
    pub queue: Queue,
    /// Index of the input that is an image, and what makes tensors of images.
    pub image: Option<(usize, Arc<ImagePipeline>)>,
    /// What turns its outputs into answers.
    pub answerer: Option<Answerer>,
    /// Whether the ids of its answers carry the classes, so that feedback may give labels.
    pub classes_in_ids: bool,
    /// Its answers that are kept, if `model.toml` says so.
    pub cache: Option<Cache>,
    /// Follows what comes in, if `model.toml` says so.
    pub drift: Option<Monitor>,
    /// Requests with known answers, to be tried before it gets traffic.
    pub golden: Option<PathBuf>,
}

/// What is told of a version.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    /// The model's name.
    pub model: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The engine that runs it.
    pub engine: &'static str,
    /// What the engine computes in.
    pub precision: Precision,
    /// The format of its file.
    pub format: Format,
    /// Why this engine and precision: what was compared, or what was asked for.
    pub why: String,
    /// SHA-256 of the model file, in hex.
    pub digest: String,
    /// The file that names the classes of an output, and that output.
    pub labels: Option<(usize, String)>,
    /// When it became available.
    pub loaded_at: SystemTime,
}

impl ServedVersion {
    /// What goes in and what comes out.
    pub fn signature(&self) -> &Signature {
        self.queue.target().model.signature()
    }

    /// The input that takes images.
    pub fn image_input(&self) -> Option<&TensorSpec> {
        self.image.as_ref().map(|(i, _)| &self.signature().inputs[*i])
    }

    /// Refuses what has no chance, before its body is read. Where answers are kept, only the body tells.
    pub fn check_room(&self, priority: Priority) -> Result<(), InferError> {
        if self.cache.is_some() { Ok(()) } else { self.queue.check_room(priority) }
    }

    /// A place for a request whose body is there. Where answers are kept, nobody is refused before it turns
    /// out that the request has to be computed: [`Queue::admit`] is for then.
    pub fn reserve(&self, priority: Priority) -> Result<Place, InferError> {
        let queue = &self.queue;
        if self.cache.is_some() { Ok(queue.place(priority)) } else { queue.reserve(priority) }
    }

    /// Puts named tensors into the signature's order, and checks each against it.
    pub fn bind(&self, mut named: Vec<(String, Tensor)>) -> Result<Vec<Tensor>, InferError> {
        let inputs = &self.signature().inputs;
        let unknown = named.iter().find(|(name, _)| inputs.iter().all(|i| i.name != *name));
        if let Some((name, _)) = unknown {
            let known: Vec<_> = inputs.iter().map(|i| i.name.as_str()).collect();
            return Err(self.invalid(format!("no input `{name}`; inputs: {}", known.join(", "))));
        }
        let mut bound = Vec::with_capacity(inputs.len());
        for spec in inputs {
            let at = named
                .iter()
                .position(|(name, _)| *name == spec.name)
                .ok_or_else(|| self.invalid(format!("input `{}` is missing", spec.name)))?;
            let (_, tensor) = named.swap_remove(at);
            self.check(spec, &tensor)?;
            bound.push(tensor);
        }
        if let Some((name, _)) = named.first() {
            return Err(self.invalid(format!("input `{name}` is there twice")));
        }
        self.check_rows(&bound)?;
        Ok(bound)
    }

    fn check(&self, spec: &TensorSpec, tensor: &Tensor) -> Result<(), InferError> {
        use crate::engine::{BatchMode, Dim};
        let mut wanted = spec.clone();
        // A fixed batch is the engine's matter: rows are split and padded to it.
        if let (BatchMode::Fixed(_), Some(first)) =
            (self.signature().batch_mode, wanted.shape.first_mut())
        {
            *first = Dim::Dynamic("batch".to_owned());
        }
        if tensor.dtype() == spec.dtype && wanted.accepts(tensor.shape()) {
            return Ok(());
        }
        let got = format!("{} {:?}", tensor.dtype(), tensor.shape());
        Err(self.invalid(format!("input `{}` takes {wanted}, got {got}", spec.name)))
    }

    fn check_rows(&self, bound: &[Tensor]) -> Result<(), InferError> {
        if self.signature().batch_mode == crate::engine::BatchMode::Whole {
            return Ok(());
        }
        let rows: Vec<_> = bound.iter().map(Tensor::rows).collect();
        if rows.windows(2).all(|p| p[0] == p[1]) {
            return Ok(());
        }
        Err(self.invalid(format!("the inputs differ in rows: {rows:?}")))
    }

    /// A request that does not fit this version.
    pub fn invalid(&self, what: String) -> InferError {
        InferError::Invalid(format!("{} version {}: {what}", self.info.model, self.info.version))
    }
}
