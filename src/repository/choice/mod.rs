//! Which engine runs a version, and in what precision.
//!
//! Where `model.toml` leaves no choice, or there is none, the one engine loads the model. Else every
//! candidate is tried: it must give the reference's answers to some inputs within a tolerance, and the
//! fastest of those that do is taken. What was found out is remembered by the model's digest and the
//! machine, so that the next start loads only the engine that won. Called by [`super::load`], on the
//! loader's thread; never on the request path.

mod candidates;
mod memory;
mod samples;
mod tolerance;
mod trial;

use std::sync::Arc;

pub use memory::Memory;
pub(crate) use samples::samples;
pub use tolerance::{Difference, Tolerance};

use candidates::Candidates;
use trial::Tried;

use super::load::{LoadError, Loader};
use super::spec::ModelSpecFile;
use crate::engine::{self, LoadOptions, Model, ModelFile, Precision, Signature};
use crate::onnx::Summary;

/// What is to be run.
pub(super) struct Ask<'a> {
    pub loader: &'a Loader,
    pub file: &'a ModelFile<'a>,
    /// SHA-256 of the file, in hex.
    pub digest: &'a str,
    pub spec: &'a ModelSpecFile,
}

/// What runs it.
pub(super) struct Choice {
    pub engine: &'static str,
    pub precision: Precision,
    pub model: Arc<dyn Model>,
    /// In words: what was asked for, or what was compared.
    pub why: String,
}

/// What a model file says of itself, if it says it in a way that is understood here.
struct Declared {
    signature: Option<Signature>,
    quantised: bool,
}

impl Declared {
    fn read(file: &ModelFile<'_>) -> Declared {
        let Ok(summary) = Summary::read(file.bytes.clone()) else {
            return Declared { signature: None, quantised: false };
        };
        let quantised = |name: &String| {
            name.contains("QLinear") || name.contains("Quantize") || name.ends_with("Integer")
        };
        let quantised = summary.operators.keys().any(quantised);
        let signature = Some(Signature::new(summary.inputs, summary.outputs));
        Declared { signature, quantised }
    }
}

/// Chooses, and loads what was chosen.
pub(super) fn choose(ask: &Ask<'_>) -> Result<Choice, LoadError> {
    let candidates = Candidates::of(&ask.loader.engines, ask.spec, ask.file.format())?;
    let declared = Declared::read(ask.file);
    let known = declared.signature.as_ref();
    if let Some((engine, precision)) = candidates.only() {
        let why = candidates.why_only();
        let model = ask.load(engine, precision, known)?;
        return Ok(Choice { engine: engine.name(), precision, model, why });
    }
    let memory = ask.loader.memory.as_ref();
    let key = memory::Key::of(ask, &candidates);
    if let Some((engine, precision, why)) = memory.and_then(|m| m.recall(&key, &candidates)) {
        match ask.load(&engine, precision, known) {
            Ok(model) => return Ok(Choice { engine: engine.name(), precision, model, why }),
            Err(error) => tracing::warn!(%error, "what was remembered no longer holds"),
        }
    }
    let tolerance = |precision| Tolerance::of(precision, declared.quantised);
    let (choice, tried) = trial::run(ask, &candidates, known, tolerance)?;
    tried.iter().for_each(Tried::log);
    if let Some(memory) = memory {
        memory.keep(&key, &choice, &tried);
    }
    Ok(choice)
}

/// The pairs of engine and precision that give the reference's answers here, whatever their speed.
pub(super) fn agreeing(ask: &Ask<'_>) -> Result<Vec<(&'static str, Precision)>, LoadError> {
    let candidates = Candidates::of(&ask.loader.engines, ask.spec, ask.file.format())?;
    let declared = Declared::read(ask.file);
    let tolerance = |precision| Tolerance::of(precision, declared.quantised);
    let (choice, tried) = trial::run(ask, &candidates, declared.signature.as_ref(), tolerance)?;
    if tried.is_empty() {
        return Ok(vec![(choice.engine, choice.precision)]);
    }
    let agrees = |(engine, precision): &(Arc<dyn engine::Engine>, Precision)| {
        let one = |t: &&Tried| t.engine == engine.name() && t.precision == precision.name();
        let agrees = tried.iter().find(one).is_some_and(|t| t.refused.is_none());
        agrees.then_some((engine.name(), *precision))
    };
    Ok(candidates.pairs.iter().filter_map(agrees).collect())
}

impl Ask<'_> {
    /// Threads within one run.
    fn threads(&self) -> usize {
        self.spec.threads.unwrap_or(self.loader.threads)
    }

    /// Runs at once.
    fn instances(&self) -> usize {
        self.spec.instances(self.loader.instances, self.loader.threads)
    }

    fn load(
        &self,
        engine: &Arc<dyn engine::Engine>,
        precision: Precision,
        known: Option<&Signature>,
    ) -> Result<Arc<dyn Model>, engine::EngineError> {
        let (threads, instances) = (self.threads(), self.instances());
        let options = LoadOptions { threads, instances, precision, known };
        engine::load(engine.as_ref(), self.file, &options)
    }
}
