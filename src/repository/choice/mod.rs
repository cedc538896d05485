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

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub use memory::Memory;
pub(crate) use samples::{sample, samples};
pub use tolerance::{Difference, Tolerance};

use candidates::Candidates;
use trial::Tried;

use super::load::{LoadError, Loader};
use super::spec::ModelSpecFile;
use crate::digest::Digest;
use crate::engine::{self, Engines, LoadOptions, Model, ModelFile, Precision, Signature};
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
    /// Files beside it that hold weights.
    weights: BTreeSet<String>,
}

impl Declared {
    fn read(file: &ModelFile<'_>, engines: &Engines) -> Declared {
        let Ok(summary) = Summary::read(file.bytes.clone()) else {
            return Declared { signature: None, quantised: false, weights: BTreeSet::new() };
        };
        let quantised = |name: &String| {
            name.contains("QLinear") || name.contains("Quantize") || name.ends_with("Integer")
        };
        let quantised = summary.operators.keys().any(quantised);
        let said = Signature::new(summary.inputs, summary.outputs);
        // The same, whether engines are compared or one is named or remembered: all are told of it.
        let inferred =
            said.is_unsettled().then(|| engine::signature_of(&**engines.reference(), file));
        let signature = Some(inferred.flatten().unwrap_or(said));
        Declared { signature, quantised, weights: summary.external_data }
    }

    /// What the weights beside the file are, in words that differ when one does.
    fn weights(&self, file: &ModelFile<'_>) -> String {
        let dir = file.path.parent().unwrap_or(Path::new("."));
        let one = |name: &String| match Digest::of_file(&dir.join(name)) {
            Ok(digest) => format!("{name} {digest}"),
            Err(error) => format!("{name}: {error}"),
        };
        self.weights.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

/// Chooses, and loads what was chosen.
pub(super) fn choose(ask: &Ask<'_>) -> Result<Choice, LoadError> {
    let candidates = Candidates::of(&ask.loader.engines, ask.spec, ask.file.format())?;
    let declared = Declared::read(ask.file, &ask.loader.engines);
    let known = declared.signature.as_ref();
    if let Some((engine, precision)) = candidates.only() {
        let why = candidates.why_only();
        let model = ask.load(engine, precision, known)?;
        return Ok(Choice { engine: engine.name(), precision, model, why });
    }
    let memory = ask.loader.memory.as_ref();
    let key = memory::Key::of(ask, &candidates, &declared.weights(ask.file));
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
    let declared = Declared::read(ask.file, &ask.loader.engines);
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

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::engine::BatchMode;
    use crate::onnx::proto::tensor_shape_proto::dimension::Value as DimValue;
    use crate::onnx::proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
        ValueInfoProto, tensor_shape_proto::Dimension, type_proto,
    };

    /// `Relu` over rows of three, of which each end calls the rows otherwise.
    fn relu(input: &str, output: &str) -> ModelProto {
        let dim = |value| Dimension { value: Some(value), ..Default::default() };
        let info = |name: &str, rows: &str| {
            let rows = dim(DimValue::DimParam(rows.to_owned()));
            let shape = TensorShapeProto { dim: vec![rows, dim(DimValue::DimValue(3))] };
            let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape) };
            let value = Some(type_proto::Value::TensorType(tensor));
            let r#type = Some(TypeProto { value, ..Default::default() });
            ValueInfoProto { name: name.to_owned(), r#type, ..Default::default() }
        };
        let node = NodeProto {
            op_type: "Relu".to_owned(),
            input: vec!["x".to_owned()],
            output: vec!["y".to_owned()],
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node],
            input: vec![info("x", input)],
            output: vec![info("y", output)],
            ..Default::default()
        };
        let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
        ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(graph),
            ..Default::default()
        }
    }

    #[test]
    fn a_batch_with_two_names_is_one_by_what_the_operators_do() {
        for (input, output) in [("n", "n"), ("unk__1", "unk__2")] {
            let bytes = relu(input, output).encode_to_vec().into();
            let file = ModelFile { path: Path::new("m/1/model.onnx"), bytes };
            let known = Declared::read(&file, &Engines::embedded()).signature.unwrap();
            assert_eq!(known.batch_mode, BatchMode::Rows, "{input}, {output}");
        }
    }

    #[test]
    fn weights_beside_the_file_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        let file = ModelFile { path: &path, bytes: bytes::Bytes::new() };
        let weights = BTreeSet::from(["model.data".to_owned()]);
        let declared = Declared { signature: None, quantised: false, weights };
        let mut told = vec![declared.weights(&file)];
        for text in ["a", "b"] {
            std::fs::write(dir.path().join("model.data"), text).unwrap();
            told.push(declared.weights(&file));
        }
        told.dedup();
        assert_eq!(told.len(), 3, "{told:?}");
    }
}
