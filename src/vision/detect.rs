//! Boxes and scores into objects.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Labels, check_labels, label, position, row_of, share};
use super::classify::{best_first, is_float};
use super::error::VisionError;
use super::output_spec::{BoxFormat, Coordinates, DetectionSpec};
use super::placement::Placement;
use crate::engine::{Dim, TensorSpec};
use crate::tensor::Tensor;

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Detection {
    /// Its class's name, if the model has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label: Option<Arc<str>>,
    /// Its class.
    pub index: usize,
    /// The model's score for it.
    pub score: f32,
    /// Left, top, right and bottom, in pixels of the upright photo.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
}

/// Finds objects in a model's outputs: a box's class is its best one, and of boxes of a class that
/// overlap the best one is kept.
#[derive(Clone, Debug)]
pub struct Detector {
    boxes: (usize, String),
    scores: (usize, String),
    classes: Option<(usize, String)>,
    labels: Labels,
    spec: DetectionSpec,
    /// Width and height of what a box is measured in, in the model's pixels.
    unit: (f32, f32),
}

/// A box over the threshold, in the model's pixels.
struct Candidate {
    class: usize,
    score: f32,
    bbox: [f32; 4],
}

impl Detector {
    /// Checks what `model.toml` declares against the model's real outputs. `input_size` is the
    /// height and width of the model's input, which normalized boxes are shares of.
    pub fn new(
        spec: &DetectionSpec,
        labels: Option<Vec<String>>,
        outputs: &[TensorSpec],
        input_size: Option<(usize, usize)>,
    ) -> Result<Detector, VisionError> {
        let unit = match (spec.coordinates, input_size) {
            (Coordinates::Pixels, _) => (1.0, 1.0),
            (Coordinates::Normalized, Some((height, width))) => (width as f32, height as f32),
            (Coordinates::Normalized, None) => {
                return Err(VisionError::Spec(
                    "[output] coordinates are normalized, which needs an [input] that is an image"
                        .into(),
                ));
            }
        };
        let thresholds = [spec.score_threshold, spec.iou_threshold];
        if spec.max_detections == 0 || !thresholds.iter().all(|t| (0.0..=1.0).contains(t)) {
            return Err(VisionError::Spec(format!(
                "[output] max_detections is {} and the thresholds are {thresholds:?}, expected at \
                 least 1, and 0 to 1",
                spec.max_detections
            )));
        }
        let find = |name: &str| position(outputs, Some(name)).map(|at| (at, name.to_owned()));
        let (boxes, scores) = (find(&spec.boxes)?, find(&spec.scores)?);
        let classes = spec.classes.as_deref().map(find).transpose()?;
        let (real_boxes, real_scores) = (&outputs[boxes.0], &outputs[scores.0]);
        let fits = |dim: &Dim, other: &Dim| match (dim, other) {
            (Dim::Fixed(a), Dim::Fixed(b)) => a == b,
            _ => true,
        };
        let mismatch = |real: &TensorSpec, shape: &str| VisionError::Output {
            declared: format!("`{}` as floats {shape}", real.name),
            actual: format!("output is `{real}`"),
        };
        let count = match &real_boxes.shape[..] {
            [_, n, four] if fits(four, &Dim::Fixed(4)) && is_float(real_boxes.dtype) => n,
            _ => return Err(mismatch(real_boxes, "[batch,N,4]")),
        };
        let labels = share(labels);
        match (&real_scores.shape[..], &classes) {
            _ if !is_float(real_scores.dtype) => {
                return Err(mismatch(real_scores, "[batch,N,C]"));
            }
            ([_, n, c], None) if fits(n, count) => check_labels(&labels, c, real_scores)?,
            (_, None) => return Err(mismatch(real_scores, "[batch,N,C], there being no classes,")),
            ([_, n], Some((at, _))) if fits(n, count) => match &outputs[*at].shape[..] {
                [_, n] if fits(n, count) => {}
                _ => return Err(mismatch(&outputs[*at], "or integers [batch,N]")),
            },
            (_, Some(_)) => return Err(mismatch(real_scores, "[batch,N], there being classes,")),
        }
        Ok(Detector { boxes, scores, classes, labels, spec: spec.clone(), unit })
    }

    /// The objects in one row of a run's outputs, surest first, in the photo's pixels.
    pub fn find(
        &self,
        outputs: &[Tensor],
        row: usize,
        placement: &Placement,
    ) -> Result<Vec<Detection>, VisionError> {
        let mut candidates = self.candidates(outputs, row)?;
        // Stable, so that of equals the first comes first.
        candidates.sort_by(|a, b| best_first(a.score, b.score));
        let mut kept: Vec<Candidate> = Vec::new();
        for one in candidates {
            if kept.len() == self.spec.max_detections {
                break;
            }
            let covered = |k: &Candidate| {
                k.class == one.class && overlap(k.bbox, one.bbox) > self.spec.iou_threshold
            };
            if !kept.iter().any(covered) {
                kept.push(one);
            }
        }
        let detection = |c: Candidate| {
            let (x1, y1) = placement.to_source(c.bbox[0], c.bbox[1]);
            let (x2, y2) = placement.to_source(c.bbox[2], c.bbox[3]);
            Detection {
                label: label(&self.labels, c.class),
                index: c.class,
                score: c.score,
                bbox: [x1, y1, x2, y2],
            }
        };
        Ok(kept.into_iter().map(detection).collect())
    }

    fn candidates(&self, outputs: &[Tensor], row: usize) -> Result<Vec<Candidate>, VisionError> {
        let get = |(at, name): &(usize, String), rank| row_of(outputs, (*at, name), row, rank);
        let (boxes, box_shape) = get(&self.boxes, 3)?;
        let score_rank = if self.classes.is_some() { 2 } else { 3 };
        let (scores, score_shape) = get(&self.scores, score_rank)?;
        let classes = self.classes.as_ref().map(|c| get(c, 2)).transpose()?;
        let agree = box_shape[0] == score_shape[0]
            && box_shape[1] == 4
            && classes.as_ref().is_none_or(|(_, shape)| shape[0] == box_shape[0]);
        if !agree {
            return Err(VisionError::Answer {
                expected: "a score and a class for each box".into(),
                got: format!("boxes {box_shape:?} and scores {score_shape:?}"),
            });
        }
        let width = score_shape.get(1).copied().unwrap_or(1).max(1);
        let mut found = Vec::new();
        for (i, (bbox, scores)) in
            boxes.as_chunks::<4>().0.iter().zip(scores.chunks_exact(width)).enumerate()
        {
            let mut best = 0;
            for (class, score) in scores.iter().enumerate() {
                if best_first(*score, scores[best]).is_lt() {
                    best = class;
                }
            }
            let score = scores[best];
            let bbox = self.corners(*bbox);
            // Written so that a score that is not a number is dropped too.
            if score >= self.spec.score_threshold && bbox.iter().all(|v| v.is_finite()) {
                let class = classes.as_ref().map_or(best, |(c, _)| c[i] as usize);
                found.push(Candidate { class, score, bbox });
            }
        }
        Ok(found)
    }

    /// Left, top, right and bottom in the model's pixels.
    fn corners(&self, [a, b, c, d]: [f32; 4]) -> [f32; 4] {
        let (w, h) = self.unit;
        let [x1, y1, x2, y2] = match self.spec.box_format {
            BoxFormat::Xyxy => [a, b, c, d],
            BoxFormat::Yxyx => [b, a, d, c],
            BoxFormat::Cxcywh => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        };
        [x1 * w, y1 * h, x2 * w, y2 * h]
    }
}

/// Intersection over union.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |r: [f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let either = area(a) + area(b) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
