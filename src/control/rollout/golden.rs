//! Golden requests: inputs with known answers that lie beside a version's model file. They are tried on
//! this machine, before the version gets traffic.
//!
//! `golden/*.json`, each one request:
//! `{"image": "cat.jpg" | "inputs": {name: {"shape": […], "data": […]}},
//!   "expect": {"class": 281 | "label": "tabby", "top": 1} | {"outputs": {name: {…}}, "tolerance": 1e-3}}`

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::batcher::run_now;
use crate::router::ServedVersion;
use crate::tensor::{DType, Tensor};
use crate::vision::{Answerer, ImageLimits, best};

/// How far a number may be off, relative to its size and at least absolutely, unless a file says else.
const TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    image: Option<String>,
    #[serde(default)]
    inputs: BTreeMap<String, Numbers>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    shape: Vec<usize>,
    data: Vec<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    class: Option<usize>,
    label: Option<String>,
    top: Option<usize>,
    outputs: BTreeMap<String, Numbers>,
    tolerance: Option<f64>,
}

/// Tries all golden requests of a version. Gives back how many there are, or what the first that fails
/// should have been. It computes: not for async threads.
pub fn check(version: &ServedVersion, limits: &ImageLimits) -> Result<usize, String> {
    let Some(dir) = &version.golden else { return Ok(0) };
    let entries =
        std::fs::read_dir(dir).map_err(|e| format!("can't read {}: {e}", dir.display()))?;
    let mut files: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        one(version, dir, file, limits).map_err(|e| format!("golden request {name}: {e}"))?;
    }
    Ok(files.len())
}

fn one(
    version: &ServedVersion,
    dir: &Path,
    file: &Path,
    limits: &ImageLimits,
) -> Result<(), String> {
    let text = std::fs::read(file).map_err(|e| e.to_string())?;
    let golden: Golden = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let inputs = inputs(version, dir, &golden, limits)?;
    let bound = version.bind(inputs).map_err(|e| e.to_string())?;
    let reply = run_now(version.queue.target(), version.queue.limits().max_batch, &bound);
    let outputs = reply.map_err(|e| e.to_string())?.outputs;
    let expect = &golden.expect;
    if expect.class.is_none() && expect.label.is_none() && expect.outputs.is_empty() {
        return Err("`expect` names no class, label or outputs".to_owned());
    }
    ranked(version, expect, &outputs)?;
    let tolerance = expect.tolerance.unwrap_or(TOLERANCE);
    for (name, numbers) in &expect.outputs {
        let specs = &version.signature().outputs;
        let at = specs.iter().position(|o| o.name == *name);
        let got = at.and_then(|at| outputs.get(at)).and_then(Tensor::to_f32);
        let got = got.ok_or_else(|| format!("there is no output `{name}` of numbers"))?;
        near(name, &numbers.data, &got, tolerance)?;
    }
    Ok(())
}

fn inputs(
    version: &ServedVersion,
    dir: &Path,
    golden: &Golden,
    limits: &ImageLimits,
) -> Result<Vec<(String, Tensor)>, String> {
    if let Some(image) = &golden.image {
        let (input, pipeline) = version.image.as_ref().ok_or("the model takes no images")?;
        let bytes =
            std::fs::read(dir.join(image)).map_err(|e| format!("can't read {image}: {e}"))?;
        let (row, _) = pipeline.run(&bytes, limits).map_err(|e| format!("{image}: {e}"))?;
        return Ok(vec![(version.signature().inputs[*input].name.clone(), row)]);
    }
    let tensor = |(name, numbers): (&String, &Numbers)| {
        let spec = version.signature().inputs.iter().find(|i| i.name == *name);
        let dtype = spec.map_or(DType::F32, |s| s.dtype);
        let tensor = Tensor::from_f64s(dtype, numbers.shape.clone(), &numbers.data);
        tensor.map(|t| (name.clone(), t)).map_err(|e| format!("input `{name}`: {e}"))
    };
    golden.inputs.iter().map(tensor).collect()
}

fn ranked(version: &ServedVersion, expect: &Expect, outputs: &[Tensor]) -> Result<(), String> {
    let wanted = match (expect.class, &expect.label) {
        (None, None) => return Ok(()),
        (Some(class), _) => class.to_string(),
        (None, Some(label)) => label.clone(),
    };
    let classifier = match &version.answerer {
        Some(Answerer::Classifier(classifier)) => Some(classifier),
        _ => None,
    };
    let output = outputs.get(classifier.map_or(0, |c| c.output()));
    let scores = output.and_then(Tensor::to_f32).ok_or("the model gives no scores of classes")?;
    let top = expect.top.unwrap_or(1);
    let ranked = best(&scores, top);
    let label = |class: usize| classifier.and_then(|c| c.label(class));
    let is = |class: &usize| match (&expect.class, &expect.label) {
        (Some(wanted), _) => class == wanted,
        (None, Some(wanted)) => label(*class).is_some_and(|l| &*l == wanted.as_str()),
        (None, None) => true,
    };
    if ranked.iter().any(is) {
        return Ok(());
    }
    let got: Vec<String> = ranked
        .iter()
        .map(|c| label(*c).map_or_else(|| c.to_string(), |l| format!("{c} {l}")))
        .collect();
    Err(format!("expected {wanted} among the first {top}, got {}", got.join(", ")))
}

fn near(name: &str, expected: &[f64], got: &[f32], tolerance: f64) -> Result<(), String> {
    if expected.len() != got.len() {
        let (expected, got) = (expected.len(), got.len());
        return Err(format!("output `{name}` has {got} numbers, expected {expected}"));
    }
    let off = |(at, (e, g)): (usize, (&f64, &f32))| {
        let difference = (e - f64::from(*g)).abs();
        // What is not a number is near to nothing.
        let near = difference <= tolerance * e.abs().max(1.0);
        (!near).then(|| format!("output `{name}` at {at} is {g}, expected {e} within {tolerance}"))
    };
    expected.iter().zip(got).enumerate().find_map(off).map_or(Ok(()), Err)
}
