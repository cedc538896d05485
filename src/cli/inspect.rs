//! `ocelli inspect`: what is in a model file, and which engines can run it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;

use super::{Failure, print, version_dir};
use crate::config::EngineArgs;
use crate::engine::{self, Format, LoadOptions, ModelFile, Signature, TensorSpec};
use crate::onnx::Summary;

#[derive(clap::Args)]
pub struct InspectArgs {
    /// A model.onnx, a version directory or a model directory
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(super) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let path = if args.model.is_dir() {
        let dir = version_dir(&args.model)?.1;
        Format::find(&dir).unwrap_or_else(|| dir.join("model.onnx"))
    } else {
        args.model.clone()
    };
    let bytes = std::fs::read(&path)
        .map_err(|e| format!("can't read {}: {e}; name a model.onnx", path.display()))?;
    let bytes = Bytes::from(bytes);
    let summary = Summary::read(bytes.clone()).map_err(|e| format!("{}: {e}", path.display()))?;
    let known = Signature::new(summary.inputs.clone(), summary.outputs.clone());
    let options = LoadOptions { known: Some(&known), ..LoadOptions::default() };
    let engines: Vec<_> = args
        .engines
        .engines()
        .all()
        .iter()
        .map(|engine| {
            let file = ModelFile { path: &path, bytes: bytes.clone() };
            let loaded = engine::load(engine.as_ref(), &file, &options);
            (engine.name(), loaded.map(|m| m.signature().batch_mode).map_err(|e| e.to_string()))
        })
        .collect();
    if args.json {
        as_json(&path, bytes.len(), &summary, &engines)
    } else {
        as_text(&path, bytes.len(), &summary, &engines)
    }
}

type Engines = [(&'static str, Result<engine::BatchMode, String>)];

fn as_text(path: &Path, size: usize, s: &Summary, engines: &Engines) -> Result<(), Failure> {
    let bold = anstyle::Style::new().bold();
    let mut out = String::new();
    let mut row = |name: &str, text: String| {
        // Writing to a String can't fail.
        let _ = writeln!(out, "{bold}{name:<14}{bold:#}{text}");
    };
    row("file", format!("{} ({:.1} MB)", path.display(), size as f64 / 1e6));
    row("format", format!("ONNX IR {}, by {}", s.ir_version, s.producer));
    let opsets: Vec<_> = s.opsets.iter().map(|(d, v)| format!("{d} {v}")).collect();
    row("opset", opsets.join(", "));
    s.inputs.iter().for_each(|i| row("input", i.to_string()));
    s.outputs.iter().for_each(|o| row("output", o.to_string()));
    row("batch", if s.has_dynamic_batch() { "dynamic" } else { "fixed" }.to_owned());
    row("parameters", format!("{:.2} M", s.parameters as f64 / 1e6));
    let mut operators: Vec<_> = s.operators.iter().collect();
    operators.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), *name));
    let operators: Vec<_> = operators.iter().map(|(name, n)| format!("{name} ×{n}")).collect();
    row("operators", operators.join(", "));
    if !s.external_data.is_empty() {
        row("external data", s.external_data.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    for (name, loaded) in engines {
        let text = match loaded {
            Ok(mode) => format!("{name}: runs it, batching {mode:?}"),
            Err(error) => error.clone(),
        };
        row("engine", text);
    }
    print(&out)
}

fn as_json(path: &Path, size: usize, s: &Summary, engines: &Engines) -> Result<(), Failure> {
    let spec = |t: &TensorSpec| {
        let shape: Vec<_> = t.shape.iter().map(ToString::to_string).collect();
        json!({ "name": t.name, "datatype": t.dtype.name(), "shape": shape })
    };
    let engines: serde_json::Map<_, _> = engines
        .iter()
        .map(|(name, loaded)| {
            let told = match loaded {
                Ok(mode) => json!({ "runs": true, "batching": format!("{mode:?}") }),
                Err(error) => json!({ "runs": false, "error": error }),
            };
            ((*name).to_owned(), told)
        })
        .collect();
    let told = json!({
        "file": path, "bytes": size, "ir_version": s.ir_version, "producer": s.producer,
        "opsets": s.opsets, "parameters": s.parameters, "operators": s.operators,
        "inputs": s.inputs.iter().map(spec).collect::<Vec<_>>(),
        "outputs": s.outputs.iter().map(spec).collect::<Vec<_>>(),
        "dynamic_batch": s.has_dynamic_batch(), "external_data": s.external_data,
        "engines": engines,
    });
    print(&format!("{told:#}\n"))
}
