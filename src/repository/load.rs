//! One version from its files to warm: read once, hash, choose an engine, parse, check what was declared,
//! run every batch size class.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::choice::{self, Ask, Memory};
use super::scan::Fingerprint;
use super::spec::ModelSpecFile;
use crate::digest::Digest;
use crate::engine::{
    self, Batch, BatchMode, Engines, Format, Model, ModelFile, Precision, Signature,
};
use crate::tensor::Tensor;
use crate::vision::{Answerer, ImagePipeline, InputSpec};

/// A version that is loaded and warm, with no queue yet.
pub struct LoadedVersion {
    /// What was declared of it.
    pub spec: ModelSpecFile,
    /// The engine.
    pub engine: &'static str,
    /// What it computes in.
    pub precision: Precision,
    /// The format of its file.
    pub format: Format,
    /// Why this engine and precision.
    pub why: String,
    /// What runs.
    pub model: Arc<dyn Model>,
    /// Index of the image input and what fills it.
    pub image: Option<(usize, Arc<ImagePipeline>)>,
    /// What turns outputs into answers.
    pub answerer: Option<Answerer>,
    /// SHA-256 of the model file, in hex.
    pub digest: String,
}

/// Why a version did not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The files changed while they were read; the next round reads them again.
    #[error("its files changed while they were being read")]
    Changed,
    /// `model.toml` or what it names is wrong.
    #[error("{0}")]
    Spec(String),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// No engine takes it.
    #[error("no engine can serve it: {}", .0.join("; "))]
    NoEngine(Vec<String>),
    /// The declared input or output does not fit the model.
    #[error(transparent)]
    Vision(#[from] crate::vision::VisionError),
    /// It loads, but a first run shows that it can't serve.
    #[error("warm-up with {rows} rows: {reason}")]
    WarmUp {
        /// Rows of the run.
        rows: usize,
        /// What went wrong.
        reason: String,
    },
}

/// What loads versions: the engines there are, and how much of the machine one may use.
#[derive(Clone, Debug)]
pub struct Loader {
    /// The engines.
    pub engines: Engines,
    /// Threads an engine may use within one run.
    pub threads: usize,
    /// Runs of a version at once.
    pub instances: usize,
    /// Where choices of an engine are remembered.
    pub memory: Option<Memory>,
}

impl Loader {
    /// One that has what needs no library, one thread, and no memory.
    pub fn embedded() -> Loader {
        Loader { engines: Engines::embedded(), threads: 1, instances: 1, memory: None }
    }

    /// Loads a version. `fingerprint`, where given, is what its files must still be afterwards.
    pub fn load(
        &self,
        model_dir: &Path,
        version_dir: &Path,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<LoadedVersion, LoadError> {
        let spec = ModelSpecFile::read(model_dir, Some(version_dir)).map_err(LoadError::Spec)?;
        self.load_as(spec, model_dir, version_dir, fingerprint)
    }

    /// As [`Loader::load`], with what is declared of it given by the caller.
    pub fn load_as(
        &self,
        spec: ModelSpecFile,
        model_dir: &Path,
        version_dir: &Path,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<LoadedVersion, LoadError> {
        load(self, spec, model_dir, version_dir, fingerprint)
    }

    /// The pairs of engine and precision, of those that `spec` leaves open, that give the reference's
    /// answers.
    pub fn agreeing(
        &self,
        spec: &ModelSpecFile,
        version_dir: &Path,
    ) -> Result<Vec<(&'static str, Precision)>, LoadError> {
        let path = model_path(version_dir);
        let bytes = read(&path)?;
        let digest = Digest::of(&bytes).to_string();
        let file = ModelFile { path: &path, bytes };
        choice::agreeing(&Ask { loader: self, file: &file, digest: &digest, spec })
    }
}

fn load(
    loader: &Loader,
    spec: ModelSpecFile,
    model_dir: &Path,
    version_dir: &Path,
    fingerprint: Option<&Fingerprint>,
) -> Result<LoadedVersion, LoadError> {
    let path = model_path(version_dir);
    let bytes = read(&path)?;
    let digest = Digest::of(&bytes).to_string();
    let file = ModelFile { path: &path, bytes };
    let chosen = choice::choose(&Ask { loader, file: &file, digest: &digest, spec: &spec })?;
    let model = chosen.model;
    let signature = model.signature();
    let image = image_input(&spec, signature)?;
    let answerer = answerer(&spec, signature, image.as_ref(), model_dir, version_dir)?;
    if let Some(before) = fingerprint {
        let now = Fingerprint::read(model_dir, version_dir)
            .map_err(|source| LoadError::Read { path: version_dir.to_owned(), source })?;
        if now != *before {
            return Err(LoadError::Changed);
        }
    }
    let (engine, precision, why) = (chosen.engine, chosen.precision, chosen.why);
    let format = Format::of(&path);
    Ok(LoadedVersion { engine, precision, format, why, model, image, answerer, digest, spec })
}

/// One that is gone is told as one that can't be read.
fn model_path(version_dir: &Path) -> PathBuf {
    Format::find(version_dir).unwrap_or_else(|| version_dir.join("model.onnx"))
}

fn read(path: &Path) -> Result<Bytes, LoadError> {
    let read = std::fs::read(path);
    read.map(Bytes::from).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

pub(super) fn image_input(
    spec: &ModelSpecFile,
    signature: &Signature,
) -> Result<Option<(usize, Arc<ImagePipeline>)>, LoadError> {
    let Some(InputSpec::Image(image)) = &spec.input else { return Ok(None) };
    let input = image.input(&signature.inputs)?;
    let pipeline = ImagePipeline::new(image, input)?;
    let at = signature.inputs.iter().position(|i| i.name == input.name);
    Ok(at.map(|at| (at, Arc::new(pipeline))))
}

fn answerer(
    spec: &ModelSpecFile,
    signature: &Signature,
    image: Option<&(usize, Arc<ImagePipeline>)>,
    model_dir: &Path,
    version_dir: &Path,
) -> Result<Option<Answerer>, LoadError> {
    let Some(output) = &spec.output else { return Ok(None) };
    if signature.batch_mode == BatchMode::Whole {
        let shapes: Vec<_> = signature.outputs.iter().map(ToString::to_string).collect();
        let shapes = shapes.join("; ");
        return Err(LoadError::Spec(format!(
            "[output] gives an answer a row, but the model's outputs don't carry the batch: {shapes}"
        )));
    }
    let labels = output.labels().map(|name| labels(name, model_dir, version_dir)).transpose()?;
    let size = image.map(|(_, pipeline)| pipeline.size());
    Ok(Some(Answerer::new(output, labels, &signature.outputs, size)?))
}

/// Labels, one a line, beside the version or else beside the model.
fn labels(name: &str, model_dir: &Path, version_dir: &Path) -> Result<Vec<String>, LoadError> {
    let own = version_dir.join(name);
    let path = if own.exists() { own } else { model_dir.join(name) };
    let text = std::fs::read_to_string(&path).map_err(|source| LoadError::Read { path, source })?;
    Ok(text.lines().map(|l| l.trim_end().to_owned()).collect())
}

/// Runs that take no longer than this are made twice to warm up, whatever their rows.
const SHORT_RUN: Duration = Duration::from_millis(50);

/// Runs zeros through every batch size class: one row, powers of two, the largest. What the
/// first run of a size costs is paid here, and a model that can't run is found here. Gives how long
/// each took, by its rows.
pub fn warm_up(
    version: &LoadedVersion,
    max_batch: usize,
) -> Result<Vec<(usize, Duration)>, LoadError> {
    let mut took = Vec::new();
    let signature = version.model.signature();
    let largest = match signature.batch_mode {
        BatchMode::Rows => max_batch,
        BatchMode::Fixed(n) => n,
        BatchMode::Whole => 1,
    };
    let mut rows = if let BatchMode::Fixed(n) = signature.batch_mode { n } else { 1 };
    loop {
        let Some(inputs) = zeros(version, rows) else { return Ok(took) };
        let fail = |reason: String| LoadError::WarmUp { rows, reason };
        let run = || {
            let start = Instant::now();
            let outputs = engine::run(version.engine, version.model.as_ref(), &Batch::of(&inputs));
            outputs.map(|o| (o, start.elapsed())).map_err(|e| fail(e.to_string()))
        };
        let (outputs, cold) = run()?;
        // The first run of a size also sets up memory and what an engine compiles for it: taken for what one row
        // costs, it has all batches be too large, and so is not soon put right.
        let again = took.is_empty() || cold < SHORT_RUN;
        took.push((rows, if again { run()?.1 } else { cold }));
        let odd = outputs.iter().find(|t| t.rows() != rows);
        if let (Some(odd), true) = (odd, signature.batch_mode != BatchMode::Whole) {
            return Err(fail(format!("an output has {} rows", odd.rows())));
        }
        if rows >= largest {
            return Ok(took);
        }
        rows = (rows * 2).min(largest);
    }
}

/// Zeros for every input, if its shape is known but for the batch.
fn zeros(version: &LoadedVersion, rows: usize) -> Option<Vec<Tensor>> {
    let signature = version.model.signature();
    let inputs = signature.inputs.iter().enumerate().map(|(i, spec)| {
        if let Some((at, pipeline)) = &version.image
            && *at == i
        {
            return pipeline.zeros(rows);
        }
        Tensor::zeros(spec.dtype, signature.input_shape(spec, rows)?).ok()
    });
    inputs.collect()
}

/// The model and version directory that `path` means: a version's own, or a model's newest.
pub fn find_version(path: &Path) -> Result<(PathBuf, PathBuf), String> {
    if Format::find(path).is_some_and(|file| file.is_file()) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.map_or_else(|| path.join(".."), Path::to_owned);
        return Ok((parent, path.to_owned()));
    }
    let versions = super::scan::versions(path).map_err(|e| {
        format!("can't read {}: {e}; name a model directory such as models/NAME", path.display())
    })?;
    let newest = versions.last().ok_or_else(|| {
        format!(
            "{} has no version directory with a model.onnx or model.tflite, such as 1/model.onnx",
            path.display()
        )
    })?;
    Ok((path.to_owned(), path.join(newest.to_string())))
}
