//! A model's outputs into an answer, whichever kind it declares.

use std::sync::Arc;

use serde::Serialize;

use super::classify::{Class, Classifier};
use super::detect::{Detection, Detector};
use super::error::VisionError;
use super::output_spec::OutputSpec;
use super::placement::Placement;
use crate::engine::{Dim, TensorSpec};
use crate::tensor::Tensor;

/// Reads a model's outputs.
#[derive(Clone, Debug)]
pub enum Answerer {
    /// Ranks classes.
    Classifier(Classifier),
    /// Finds objects.
    Detector(Detector),
}

/// What a model says about one image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The best classes, best first.
    Classes(Vec<Class>),
    /// The objects found, surest first.
    Detections(Vec<Detection>),
}

impl Answerer {
    /// Checks what `model.toml` declares against the model's real outputs. `input_size` is the
    /// height and width of the model's input, which normalized boxes are shares of.
    pub fn new(
        spec: &OutputSpec,
        labels: Option<Vec<String>>,
        outputs: &[TensorSpec],
        input_size: Option<(usize, usize)>,
    ) -> Result<Answerer, VisionError> {
        Ok(match spec {
            OutputSpec::Classification(spec) => {
                Answerer::Classifier(Classifier::new(spec, labels, outputs)?)
            }
            OutputSpec::Detection(spec) => {
                Answerer::Detector(Detector::new(spec, labels, outputs, input_size)?)
            }
        })
    }

    /// The answer for one row of a run's outputs, which are in the signature's order. `top_k`
    /// overrides the declared number of classes, and bounds the detections.
    pub fn answer(
        &self,
        outputs: &[Tensor],
        row: usize,
        top_k: Option<usize>,
        placement: &Placement,
    ) -> Result<Answer, VisionError> {
        Ok(match self {
            Answerer::Classifier(c) => Answer::Classes(c.rank(outputs, row, top_k)?),
            Answerer::Detector(d) => {
                let mut found = d.find(outputs, row, placement)?;
                found.truncate(top_k.unwrap_or(usize::MAX));
                Answer::Detections(found)
            }
        })
    }
}

/// Labels, shared by every answer that names them.
pub(super) type Labels = Option<Vec<Arc<str>>>;

pub(super) fn share(labels: Option<Vec<String>>) -> Labels {
    labels.map(|labels| labels.into_iter().map(Arc::from).collect())
}

pub(super) fn label(labels: &Labels, index: usize) -> Option<Arc<str>> {
    labels.as_ref()?.get(index).cloned()
}

/// Where the output called `name` is; without a name, the only one.
pub(super) fn position(outputs: &[TensorSpec], name: Option<&str>) -> Result<usize, VisionError> {
    let found = match name {
        Some(name) => outputs.iter().position(|o| o.name == name),
        None => (outputs.len() == 1).then_some(0),
    };
    found.ok_or_else(|| {
        let names: Vec<_> = outputs.iter().map(|o| o.name.as_str()).collect();
        VisionError::Output {
            declared: name.map_or_else(|| "no name".to_owned(), |n| format!("the output `{n}`")),
            actual: format!("outputs are `{}`", names.join("`, `")),
        }
    })
}

/// Refuses labels whose number is not the model's number of classes, where it is known.
pub(super) fn check_labels(
    labels: &Labels,
    classes: &Dim,
    output: &TensorSpec,
) -> Result<(), VisionError> {
    match (labels, classes) {
        (Some(labels), Dim::Fixed(n)) if labels.len() != *n => Err(VisionError::Output {
            declared: format!("{} labels", labels.len()),
            actual: format!("output `{output}` has {n} classes"),
        }),
        _ => Ok(()),
    }
}

/// One row of an output as numbers, with its shape past the batch.
pub(super) fn row_of(
    outputs: &[Tensor],
    (position, name): (usize, &str),
    row: usize,
    rank: usize,
) -> Result<(Vec<f32>, Vec<usize>), VisionError> {
    let expected = || format!("row {row} of `{name}`, a tensor of rank {rank}");
    let Some(tensor) = outputs.get(position) else {
        let got = format!("{} outputs", outputs.len());
        return Err(VisionError::Answer { expected: expected(), got });
    };
    let wrong = || VisionError::Answer { expected: expected(), got: format!("{tensor:?}") };
    if tensor.shape().len() != rank || row >= tensor.rows() {
        return Err(wrong());
    }
    let numbers = tensor.slice_rows(row..row + 1).to_f32().ok_or_else(wrong)?;
    Ok((numbers, tensor.shape()[1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_lists_of_what_was_found() {
        let classes = Answer::Classes(vec![
            Class { label: Some("cat".into()), index: 3, score: 0.5 },
            Class { label: None, index: 1, score: 0.25 },
        ]);
        assert_eq!(
            serde_json::to_string(&classes).unwrap(),
            r#"[{"label":"cat","index":3,"score":0.5},{"index":1,"score":0.25}]"#
        );
        let found = Detection {
            label: Some("dog".into()),
            index: 0,
            score: 0.75,
            bbox: [1.0, 2.0, 3.5, 4.0],
        };
        assert_eq!(
            serde_json::to_string(&Answer::Detections(vec![found])).unwrap(),
            r#"[{"label":"dog","index":0,"score":0.75,"box":[1.0,2.0,3.5,4.0]}]"#
        );
    }
}
