//! `ocelli predict`: image files into answers without a server, by the server's own parts.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Failure, print, version_dir};
use crate::engine::{self, Batch};
use crate::repository::load::LoadedVersion;
use crate::tensor::Tensor;
use crate::vision::{Answer, ImageLimits};

#[derive(clap::Args)]
pub struct PredictArgs {
    /// A model directory (its newest version) or a version directory
    model: PathBuf,
    /// Image files: JPEG, PNG, WebP, GIF
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// How many classes to show; model.toml says otherwise
    #[arg(long)]
    top_k: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// With --json: the model's raw outputs and the pixels it saw, too
    #[arg(long, requires = "json")]
    tensors: bool,
    #[command(flatten)]
    engine: super::engine::EngineChoice,
}

pub(super) fn run(args: &PredictArgs) -> Result<(), Failure> {
    let (model_dir, dir) = version_dir(&args.model)?;
    let version = args.engine.load(&model_dir, &dir, 1, 1)?;
    if version.image.is_none() || version.answerer.is_none() {
        return Err(format!(
            "{}: its model.toml declares no [input] kind = \"image\" or no [output]; both are needed",
            model_dir.display()
        )
        .into());
    }
    let mut all = Vec::new();
    for path in &args.images {
        let told = one(args, &version, path).map_err(|e| format!("{}: {e}", path.display()))?;
        if args.json {
            all.push(told);
        } else {
            print(&text(&told))?;
        }
    }
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
    }
    Ok(())
}

fn one(args: &PredictArgs, version: &LoadedVersion, path: &PathBuf) -> Result<Told, Failure> {
    let (Some((_, pipeline)), Some(answerer)) = (&version.image, &version.answerer) else {
        return Err("the model takes no images".into());
    };
    let encoded = std::fs::read(path)?;
    let (pixels, placement) = pipeline.run(&encoded, &ImageLimits::default())?;
    let inputs = [pixels];
    let outputs = engine::run(version.engine, version.model.as_ref(), &Batch::of(&inputs))?;
    let answer: Answer = answerer.answer(&outputs, 0, args.top_k, &placement)?;
    let tensors = args.tensors.then(|| Tensors {
        pixels: inputs[0].to_f32(),
        outputs: outputs.iter().map(Tensor::to_f32).collect(),
    });
    Ok(Told { image: path.clone(), predictions: answer, tensors })
}

fn text(told: &Told) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "{bold}{}{bold:#}", told.image.display());
    let name = |label: &Option<Arc<str>>| label.as_deref().unwrap_or_default().to_owned();
    match &told.predictions {
        Answer::Classes(classes) => classes.iter().for_each(|c| {
            let _ = writeln!(out, "  {:>8.4}  {} ({})", c.score, name(&c.label), c.index);
        }),
        Answer::Detections(found) => found.iter().for_each(|d| {
            let (label, index, bbox) = (name(&d.label), d.index, d.bbox);
            let _ = writeln!(out, "  {:>8.4}  {label} ({index})  at {bbox:.1?}", d.score);
        }),
    }
    out
}

/// What is told of an image. Serialised as it is: through a `Value` the 32-bit scores would be
/// widened, and printed otherwise than the server does.
#[derive(Serialize)]
struct Told {
    image: PathBuf,
    predictions: Answer,
    #[serde(flatten)]
    tensors: Option<Tensors>,
}

#[derive(Serialize)]
struct Tensors {
    pixels: Option<Vec<f32>>,
    outputs: Vec<Option<Vec<f32>>>,
}
