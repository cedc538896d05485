//! Logits into the best classes.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Labels, check_labels, label, position, row_of, share};
use super::error::VisionError;
use super::output_spec::ClassificationSpec;
use crate::engine::TensorSpec;
use crate::tensor::{DType, Tensor};

/// One class and its score.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Class {
    /// Its name, if the model has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label: Option<Arc<str>>,
    /// Its place in the model's output.
    pub index: usize,
    /// A probability if the model declares softmax, else the model's own number.
    pub score: f32,
}

/// Ranks the classes of a model's output.
#[derive(Clone, Debug)]
pub struct Classifier {
    output: usize,
    name: String,
    labels: Labels,
    softmax: bool,
    top_k: usize,
}

impl Classifier {
    /// Checks what `model.toml` declares against the model's real outputs.
    pub fn new(
        spec: &ClassificationSpec,
        labels: Option<Vec<String>>,
        outputs: &[TensorSpec],
    ) -> Result<Classifier, VisionError> {
        if spec.top_k == 0 {
            return Err(VisionError::Spec("[output] top_k is 0, expected at least 1".into()));
        }
        let output = position(outputs, spec.name.as_deref())?;
        let real = &outputs[output];
        let [_, classes] = &real.shape[..] else { return Err(mismatch(real)) };
        if !is_float(real.dtype) {
            return Err(mismatch(real));
        }
        let labels = share(labels);
        check_labels(&labels, classes, real)?;
        let name = real.name.clone();
        Ok(Classifier { output, name, labels, softmax: spec.softmax, top_k: spec.top_k })
    }

    /// Where the output that this ranks is in the signature.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The name of a class, if there are names.
    pub fn label(&self, class: usize) -> Option<Arc<str>> {
        label(&self.labels, class)
    }

    /// The class that has a name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.labels.as_ref()?.iter().position(|label| &**label == name)
    }

    /// The best `top_k` classes of one row, best first, of equals the first. A score that is not a
    /// number is worse than any.
    pub fn rank(
        &self,
        outputs: &[Tensor],
        row: usize,
        top_k: Option<usize>,
    ) -> Result<Vec<Class>, VisionError> {
        let (mut scores, _) = row_of(outputs, (self.output, &self.name), row, 2)?;
        if self.softmax {
            softmax(&mut scores);
        }
        let order = best(&scores, top_k.unwrap_or(self.top_k));
        let class =
            |index| Class { label: label(&self.labels, index), index, score: scores[index] };
        Ok(order.into_iter().map(class).collect())
    }
}

/// Where the `count` highest scores are, best first, of equals the first.
pub fn best(scores: &[f32], count: usize) -> Vec<usize> {
    let better = |a: &usize, b: &usize| best_first(scores[*a], scores[*b]).then(a.cmp(b));
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if count < order.len() {
        order.select_nth_unstable_by(count, better);
        order.truncate(count);
    }
    order.sort_unstable_by(better);
    order
}

fn mismatch(output: &TensorSpec) -> VisionError {
    VisionError::Output {
        declared: "a classification, floats [batch,classes]".into(),
        actual: format!("output is `{output}`"),
    }
}

pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Higher scores first, those that are not numbers last.
pub(super) fn best_first(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// In place; the largest logit is taken off first, so that none overflows.
fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = (*s - max).exp());
    let sum: f64 = scores.iter().map(|s| f64::from(*s)).sum();
    scores.iter_mut().for_each(|s| *s = (f64::from(*s) / sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Dim;

    fn output(dims: &[usize]) -> TensorSpec {
        let shape = dims.iter().map(|d| Dim::Fixed(*d)).collect();
        TensorSpec { name: "logits".into(), dtype: DType::F32, shape }
    }

    fn rank(softmax: bool, top_k: Option<usize>, rows: &[&[f32]], row: usize) -> Vec<Class> {
        let shape = vec![rows.len(), rows[0].len()];
        let tensor = Tensor::from_f32(shape.clone(), &rows.concat()).unwrap();
        let spec = ClassificationSpec { softmax, top_k: 2, ..Default::default() };
        let labels = (0..rows[0].len()).map(|i| format!("label {i}")).collect();
        let classifier = Classifier::new(&spec, Some(labels), &[output(&shape)]).unwrap();
        classifier.rank(&[tensor], row, top_k).unwrap()
    }

    fn order(classes: &[Class]) -> Vec<usize> {
        classes.iter().map(|c| c.index).collect()
    }

    #[test]
    fn ranks_the_asked_row_and_number() {
        let rows: [&[f32]; 2] = [&[9.0, 8.0, 7.0], &[1.0, 3.0, 2.0]];
        let best = rank(false, None, &rows, 1);
        assert_eq!(order(&best), [1, 2]);
        assert_eq!((best[0].label.as_deref(), best[0].score), (Some("label 1"), 3.0));
        assert_eq!(order(&rank(false, Some(1), &rows, 0)), [0]);
        assert_eq!(order(&rank(false, Some(99), &rows, 0)), [0, 1, 2]);
    }

    #[test]
    fn equals_keep_their_order_and_what_is_no_number_comes_last() {
        let row: &[f32] = &[f32::NAN, 1.0, f32::NEG_INFINITY, 1.0, f32::INFINITY, -0.0, 0.0];
        assert_eq!(order(&rank(false, Some(7), &[row], 0)), [4, 1, 3, 5, 6, 2, 0]);
        assert_eq!(order(&rank(false, Some(2), &[row], 0)), [4, 1]);
    }

    #[test]
    fn softmax_neither_overflows_nor_loses_what_is_not_shown() {
        let best = rank(true, Some(1), &[&[1000.0, 1000.0, 1000.0, 1000.0]], 0);
        assert_eq!((best.len(), best[0].score), (1, 0.25));
        let best = rank(true, Some(2), &[&[0.0, 2.0_f32.ln(), f32::NEG_INFINITY]], 0);
        assert!((best[0].score - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn refuses_a_model_that_is_no_classifier() {
        let said = |outputs: &[TensorSpec], labels: Option<usize>, what: &str| {
            let labels = labels.map(|n| vec![String::new(); n]);
            let error = Classifier::new(&Default::default(), labels, outputs).unwrap_err();
            assert_eq!(error.to_string(), what);
            assert!(!error.is_callers_fault());
        };
        said(
            &[output(&[1, 1000])],
            Some(999),
            "[output] declares 999 labels, but the model's output `logits FP32 [1,1000]` has 1000 \
             classes",
        );
        said(
            &[output(&[1000])],
            None,
            "[output] declares a classification, floats [batch,classes], but the model's output \
             is `logits FP32 [1000]`",
        );
        said(
            &[output(&[1, 2]), output(&[1, 2])],
            None,
            "[output] declares no name, but the model's outputs are `logits`, `logits`",
        );
    }

    #[test]
    fn a_row_that_was_not_run_is_an_error() {
        let tensor = Tensor::from_f32(vec![1, 2], &[1.0, 2.0]).unwrap();
        let classifier = Classifier::new(&Default::default(), None, &[output(&[1, 2])]).unwrap();
        assert!(matches!(classifier.rank(&[tensor], 1, None), Err(VisionError::Answer { .. })));
        assert!(matches!(classifier.rank(&[], 0, None), Err(VisionError::Answer { .. })));
    }
}
