use super::super::input_spec::ResizeMode;
use super::*;
use crate::tensor::DType;

fn spec(more: &str) -> DetectionSpec {
    toml::from_str(&format!("boxes = 'boxes'\nscores = 'scores'\n{more}")).unwrap()
}

fn output(name: &str, dims: &[usize]) -> TensorSpec {
    let shape = dims.iter().map(|d| Dim::Fixed(*d)).collect();
    TensorSpec { name: name.into(), dtype: DType::F32, shape }
}

/// Runs a detector of a 100 × 100 input on boxes and their scores, for a photo of that size.
fn find(more: &str, boxes: &[[f32; 4]], scores: &[&[f32]]) -> Vec<Detection> {
    let (n, c) = (boxes.len(), scores[0].len());
    let outputs = [output("boxes", &[1, n, 4]), output("scores", &[1, n, c])];
    let labels = (0..c).map(|i| format!("label {i}")).collect();
    let detector = Detector::new(&spec(more), Some(labels), &outputs, Some((100, 100))).unwrap();
    let tensors = [
        Tensor::from_f32(vec![1, n, 4], boxes.as_flattened()).unwrap(),
        Tensor::from_f32(vec![1, n, c], &scores.concat()).unwrap(),
    ];
    detector.find(&tensors, 0, &square()).unwrap()
}

fn square() -> Placement {
    Placement::new(ResizeMode::Stretch, 1.0, (100, 100), (100, 100))
}

const A: [f32; 4] = [10.0, 10.0, 50.0, 50.0];
/// Overlaps `A` by 36 × 40 of 44 × 40, 0.818.
const NEAR_A: [f32; 4] = [14.0, 10.0, 54.0, 50.0];
const FAR: [f32; 4] = [60.0, 60.0, 90.0, 95.0];

#[test]
fn of_boxes_that_overlap_the_best_of_each_class_is_kept() {
    let found =
        find("", &[A, NEAR_A, NEAR_A, FAR], &[&[0.6, 0.1], &[0.9, 0.0], &[0.0, 0.5], &[0.1, 0.95]]);
    let got: Vec<_> = found.iter().map(|d| (d.index, d.score, d.bbox)).collect();
    assert_eq!(got, [(1, 0.95, FAR), (0, 0.9, NEAR_A), (1, 0.5, NEAR_A)]);
    assert_eq!(found[0].label.as_deref(), Some("label 1"));
}

#[test]
fn thresholds_are_honoured() {
    let both = find("iou_threshold = 0.82", &[A, NEAR_A], &[&[0.6], &[0.9]]);
    assert_eq!(both.len(), 2);
    let one = find("iou_threshold = 0.81", &[A, NEAR_A], &[&[0.6], &[0.9]]);
    assert_eq!(one.len(), 1);
    let sure = find("score_threshold = 0.7", &[A, FAR], &[&[0.6], &[0.9]]);
    assert_eq!(sure.len(), 1);
    let few = find("max_detections = 1", &[A, FAR], &[&[0.6], &[0.9]]);
    assert_eq!((few.len(), few[0].bbox), (1, FAR));
}

#[test]
fn boxes_are_read_in_the_declared_form() {
    let expected = [10.0, 20.0, 50.0, 80.0];
    let got = |more: &str, bbox| find(more, &[bbox], &[&[0.9]])[0].bbox;
    assert_eq!(got("box_format = 'xyxy'", [10.0, 20.0, 50.0, 80.0]), expected);
    assert_eq!(got("box_format = 'yxyx'", [20.0, 10.0, 80.0, 50.0]), expected);
    assert_eq!(got("box_format = 'cxcywh'", [30.0, 50.0, 40.0, 60.0]), expected);
    let shares = got("coordinates = 'normalized'", [0.125, 0.25, 0.5, 0.75]);
    assert_eq!(shares, [12.5, 25.0, 50.0, 75.0]);
}

#[test]
fn what_is_no_number_is_no_object() {
    let nan = f32::NAN;
    let found = find("", &[[nan, 0.0, 1.0, 1.0], FAR, A], &[&[0.9], &[nan], &[0.8]]);
    assert_eq!((found.len(), found[0].bbox), (1, A));
}

#[test]
fn boxes_are_mapped_back_to_the_photo_and_kept_within_it() {
    let outputs = [output("boxes", &[1, 1, 4]), output("scores", &[1, 1, 1])];
    let detector = Detector::new(&spec(""), None, &outputs, None).unwrap();
    let tensors = [
        Tensor::from_f32(vec![1, 1, 4], &[0.0, 30.0, 120.0, 75.0]).unwrap(),
        Tensor::from_f32(vec![1, 1, 1], &[1.0]).unwrap(),
    ];
    // 400 × 200 into 100 × 100: bars of 25 above and below.
    let placement = Placement::new(ResizeMode::Letterbox, 1.0, (400, 200), (100, 100));
    let found = detector.find(&tensors, 0, &placement).unwrap();
    assert_eq!(found[0].bbox, [0.0, 20.0, 400.0, 200.0]);
    assert_eq!(found[0].label, None);
}

#[test]
fn classes_may_come_by_themselves() {
    let outputs =
        [output("boxes", &[1, 2, 4]), output("scores", &[1, 2]), output("classes", &[1, 2])];
    let detector = Detector::new(&spec("classes = 'classes'"), None, &outputs, None).unwrap();
    let tensors = [
        Tensor::from_f32(vec![1, 2, 4], [A, NEAR_A].as_flattened()).unwrap(),
        Tensor::from_f32(vec![1, 2], &[0.5, 0.75]).unwrap(),
        Tensor::from_f32(vec![1, 2], &[7.0, 3.0]).unwrap(),
    ];
    let found = detector.find(&tensors, 0, &square()).unwrap();
    let got: Vec<_> = found.iter().map(|d| (d.index, d.score)).collect();
    assert_eq!(got, [(3, 0.75), (7, 0.5)]);
}

#[test]
fn refuses_a_model_that_is_no_detector() {
    let said = |outputs: &[TensorSpec], labels: Option<usize>, what: &str| {
        let labels = labels.map(|n| vec![String::new(); n]);
        let error = Detector::new(&spec(""), labels, outputs, None).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let (boxes, scores) = (output("boxes", &[1, 9, 4]), output("scores", &[1, 9, 80]));
    said(std::slice::from_ref(&boxes), None, "the output `scores`, but the model's outputs are");
    said(&[output("boxes", &[1, 9, 5]), scores.clone()], None, "boxes FP32 [1,9,5]");
    said(&[boxes.clone(), output("scores", &[1, 8, 80])], None, "scores FP32 [1,8,80]");
    said(&[boxes, scores], Some(79), "79 labels, but the model's output `scores");
    let shares = spec("coordinates = 'normalized'");
    assert!(Detector::new(&shares, None, &[], None).is_err());
}
