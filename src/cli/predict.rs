//! `ocelli predict`: image files into answers without a server, by the server's own parts.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Failure, print, version_dir};
use crate::engine::{self, Batch};
use crate::repository::load::{self, LoadedVersion};
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
}

pub(super) fn run(args: &PredictArgs) -> Result<(), Failure> {
    let (model_dir, dir) = version_dir(&args.model)?;
    let version =
        load::load(&model_dir, &dir, None, 1).map_err(|e| format!("{}: {e}", dir.display()))?;
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
    if args.json { print(&format!("{:#}\n", Value::Array(all))) } else { Ok(()) }
}

fn one(args: &PredictArgs, version: &LoadedVersion, path: &PathBuf) -> Result<Value, Failure> {
    let (Some((_, pipeline)), Some(answerer)) = (&version.image, &version.answerer) else {
        return Err("the model takes no images".into());
    };
    let encoded = std::fs::read(path)?;
    let (pixels, placement) = pipeline.run(&encoded, &ImageLimits::default())?;
    let inputs = [pixels];
    let outputs = engine::run(version.engine, version.model.as_ref(), &Batch::of(&inputs))?;
    let answer: Answer = answerer.answer(&outputs, 0, args.top_k, &placement)?;
    let mut told = json!({ "image": path, "predictions": answer });
    if args.tensors {
        told["pixels"] = json!(inputs[0].to_f32());
        told["outputs"] = outputs.iter().map(|t| json!(t.to_f32())).collect();
    }
    Ok(told)
}

fn text(told: &Value) -> String {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "{bold}{}{bold:#}", told["image"].as_str().unwrap_or_default());
    for row in told["predictions"].as_array().into_iter().flatten() {
        let score = row["score"].as_f64().unwrap_or(f64::NAN);
        let label = row["label"].as_str().unwrap_or_default();
        let _ = write!(out, "  {score:>8.4}  {label} ({})", row["index"]);
        if let Some(bbox) = row["box"].as_array() {
            let _ = write!(out, "  at {}", Value::Array(bbox.clone()));
        }
        let _ = writeln!(out);
    }
    out
}
