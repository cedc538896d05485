//! The `[output]` table of `model.toml`.

use serde::Deserialize;

/// What a model's outputs stand for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputSpec {
    /// A score for each class.
    Classification(ClassificationSpec),
    /// Boxes with a score for each class.
    Detection(DetectionSpec),
}

impl OutputSpec {
    /// The file of labels, beside the model, if one is named.
    pub fn labels(&self) -> Option<&str> {
        match self {
            OutputSpec::Classification(spec) => spec.labels.as_deref(),
            OutputSpec::Detection(spec) => spec.labels.as_deref(),
        }
    }
}

/// A score for each class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassificationSpec {
    /// The model's output; may be left out if there is only one.
    pub name: Option<String>,
    /// The file of labels, one a class.
    pub labels: Option<String>,
    /// Whether the scores are logits, to be made probabilities.
    pub softmax: bool,
    /// How many classes an answer has, unless the request asks for another number.
    pub top_k: usize,
}

impl Default for ClassificationSpec {
    fn default() -> ClassificationSpec {
        ClassificationSpec { name: None, labels: None, softmax: false, top_k: 5 }
    }
}

/// Boxes with a score for each class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionSpec {
    /// The output `[batch, N, 4]` with the boxes.
    pub boxes: String,
    /// The output `[batch, N, C]` with a score for each class, or `[batch, N]` with `classes`.
    pub scores: String,
    /// The output `[batch, N]` with each box's class; without it, the class of a box is the one
    /// with its highest score.
    #[serde(default)]
    pub classes: Option<String>,
    /// The file of labels, one a class.
    #[serde(default)]
    pub labels: Option<String>,
    /// Boxes below this score are dropped.
    #[serde(default = "score_threshold")]
    pub score_threshold: f32,
    /// A box that overlaps a better one of its class by more than this is dropped.
    #[serde(default = "iou_threshold")]
    pub iou_threshold: f32,
    /// How many boxes an answer may have.
    #[serde(default = "max_detections")]
    pub max_detections: usize,
    /// What the four numbers of a box are.
    #[serde(default)]
    pub box_format: BoxFormat,
    /// What a box is measured in.
    #[serde(default)]
    pub coordinates: Coordinates,
}

fn score_threshold() -> f32 {
    0.25
}

fn iou_threshold() -> f32 {
    0.45
}

fn max_detections() -> usize {
    100
}

/// What the four numbers of a box are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    #[default]
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
    /// Centre, then width and height.
    Cxcywh,
}

/// What a box is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coordinates {
    /// Pixels of the model's input.
    #[default]
    Pixels,
    /// Shares of the model's input, 0 to 1.
    Normalized,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classification_needs_no_more_than_its_kind() {
        let spec: OutputSpec = toml::from_str("kind = 'classification'").unwrap();
        assert_eq!(spec, OutputSpec::Classification(ClassificationSpec::default()));
    }

    #[test]
    fn detection_names_its_outputs_and_defaults_the_rest() {
        let text = "kind = 'detection'\nboxes = 'b'\nscores = 's'\nbox_format = 'cxcywh'";
        let OutputSpec::Detection(spec) = toml::from_str(text).unwrap() else { panic!() };
        assert_eq!((spec.boxes.as_str(), spec.scores.as_str()), ("b", "s"));
        assert_eq!((spec.score_threshold, spec.iou_threshold), (0.25, 0.45));
        assert_eq!(
            (spec.max_detections, spec.box_format, spec.coordinates),
            (100, BoxFormat::Cxcywh, Coordinates::Pixels)
        );
    }

    #[test]
    fn refuses_keys_of_the_other_kind() {
        let wrong = "kind = 'classification'\niou_threshold = 0.5";
        let error = toml::from_str::<OutputSpec>(wrong).unwrap_err().to_string();
        assert!(error.contains("iou_threshold"), "{error}");
    }
}
