//! The engine against outputs of ONNX Runtime.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use scratch_openvino::engine::openvino::OpenVino;
use scratch_openvino::engine::*;
use scratch_openvino::tensor::{DType, Tensor};
use support::*;

#[track_caller]
fn check(name: &str, mode: BatchMode, precision: Precision, tolerance: f64) {
    let dir = root().join("cases").join(name);
    let model = load(&dir.join("model.onnx"), &options(precision)).unwrap();
    assert_eq!(model.signature().batch_mode, mode, "{name}");
    let outputs = model.run(&Batch::of(&tensors(&dir, "in"))).unwrap();
    let expected = tensors(&dir, "out");
    assert_eq!(outputs.len(), expected.len(), "{name}");
    for (got, want) in outputs.iter().zip(&expected) {
        let (diff, _, size, _) = compare(got, want);
        assert!(diff <= tolerance * size.max(1.0), "{name}: {diff} of {size}");
    }
}

#[test]
fn gives_the_reference_s_answers_in_f32() {
    check("lite0", BatchMode::Rows, Precision::F32, 1e-5);
    check("fashion_student_plain", BatchMode::Rows, Precision::F32, 1e-5);
    check("two_in_two_out", BatchMode::Rows, Precision::F32, 1e-6);
    check("same_in_and_out", BatchMode::Rows, Precision::F32, 0.0);
}

#[test]
fn gives_nearly_the_reference_s_answers_in_bf16_and_int8() {
    if engine().precisions_here().contains(&Precision::Bf16) {
        check("lite0", BatchMode::Rows, Precision::Bf16, 0.05);
    }
    check("lite0_int8", BatchMode::Rows, Precision::F32, 0.05);
}

#[test]
fn bf16_is_other_than_f32() {
    let dir = root().join("cases/lite0");
    let input = [tensor(&dir, "in0").unwrap().slice_rows(0..1)];
    let run = |precision| load(&dir.join("model.onnx"), &options(precision)).unwrap().run(&Batch::of(&input)).unwrap();
    if engine().precisions_here().contains(&Precision::Bf16) {
        let (diff, ..) = compare(&run(Precision::Bf16)[0], &run(Precision::F32)[0]);
        assert!(diff > 1e-3, "{diff}");
    }
}

#[test]
fn every_element_type_goes_in_and_comes_out() {
    for dtype in ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32"] {
        for kind in ["id", "gather"] {
            check(&format!("dtype_{kind}_{dtype}"), BatchMode::Rows, Precision::F32, 0.0);
        }
    }
}

#[test]
fn shapes_of_all_kinds() {
    check("scalar_out", BatchMode::Whole, Precision::F32, 1e-6);
    check("scalar_in", BatchMode::Whole, Precision::F32, 1e-6);
    check("nonzero", BatchMode::Whole, Precision::F32, 0.0);
    check("nonzero_none", BatchMode::Whole, Precision::F32, 0.0);
    check("zero_dim_out", BatchMode::Rows, Precision::F32, 0.0);
    check("const_out", BatchMode::Whole, Precision::F32, 0.0);
    check("fixed4", BatchMode::Fixed(4), Precision::F32, 0.0);
    check("other_dynamic", BatchMode::Rows, Precision::F32, 0.0);
    check("argmax", BatchMode::Rows, Precision::F32, 0.0);
}

#[test]
fn a_batch_is_told_by_what_it_does_rather_than_by_its_name() {
    check("unnamed_out_dim", BatchMode::Rows, Precision::F32, 0.0);
    check("unnamed_dims", BatchMode::Rows, Precision::F32, 0.0);
    check("lies_of_batch", BatchMode::Whole, Precision::F32, 0.0);
    check("hidden_fixed_batch", BatchMode::Whole, Precision::F32, 1e-6);
}

#[test]
fn names_are_those_of_the_file() {
    let model = load(&root().join("cases/two_in_two_out/model.onnx"), &options(Precision::F32)).unwrap();
    let s = model.signature();
    let told: Vec<_> = s.inputs.iter().chain(&s.outputs).map(ToString::to_string).collect();
    assert_eq!(told, ["zb FP32 [batch,4]", "a FP32 [batch,4]", "sum FP32 [batch,4]", "diff FP32 [batch,4]"]);
}

#[test]
fn a_batch_of_several_requests_is_joined_and_a_short_one_padded() {
    for name in ["fashion_teacher", "fixed4", "lite0"] {
        let dir = root().join("cases").join(name);
        let model = load(&dir.join("model.onnx"), &options(Precision::F32)).unwrap();
        let (x, y) = (tensor(&dir, "in0").unwrap(), tensor(&dir, "out0").unwrap());
        let requests = [[x.slice_rows(0..1)], [x.slice_rows(1..3)]];
        let outputs = model.run(&Batch::gather(requests.iter().map(|r| &r[..]))).unwrap();
        let (diff, ..) = compare(&outputs[0], &y.slice_rows(0..3));
        assert!(diff < 1e-4, "{name}: {diff}");
    }
}

#[test]
fn sixteen_threads_at_once() {
    let dir = root().join("cases/fashion_teacher");
    let (x, y) = (tensor(&dir, "in0").unwrap(), tensor(&dir, "out0").unwrap());
    for instances in [1, 2, 4] {
        let options = LoadOptions { threads: 1, instances, precision: Precision::F32 };
        let model = load(&dir.join("model.onnx"), &options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..16usize {
                let (model, x, y) = (&model, &x, &y);
                scope.spawn(move || {
                    // Answers are held while others are computed.
                    let mut held = Vec::new();
                    for round in 0..40 {
                        let at = (thread * 53 + round * 7) % 980;
                        let rows = 1 + (thread + round) % 9;
                        let got = model.run(&Batch::of(&[x.slice_rows(at..at + rows)])).unwrap();
                        held.push((at, rows, got));
                    }
                    for (at, rows, got) in held {
                        let (diff, ..) = compare(&got[0], &y.slice_rows(at..at + rows));
                        assert!(diff < 1e-4, "{diff}");
                    }
                });
            }
        });
    }
}

#[test]
fn memory_is_used_again() {
    let dir = root().join("cases/fashion_teacher");
    let model = load(&dir.join("model.onnx"), &options(Precision::F32)).unwrap();
    let x = tensor(&dir, "in0").unwrap();
    for rows in [1, 8] {
        let batch = Batch::of(&[x.slice_rows(0..rows)]);
        let run = || model.run(&batch).unwrap()[0].data().pieces()[0].as_ptr();
        let first = run();
        assert_eq!([run(), run()], [first, first]);
        let held = model.run(&batch).unwrap();
        assert_ne!(run(), held[0].data().pieces()[0].as_ptr());
    }
}

#[test]
fn a_model_outlives_nothing_it_needs() {
    let dir = root().join("cases/fashion_teacher");
    let x = tensor(&dir, "in0").unwrap().slice_rows(0..2);
    let model: Arc<dyn Model> = load(&dir.join("model.onnx"), &options(Precision::F32)).unwrap();
    let output = model.run(&Batch::of(&[x])).unwrap();
    drop(model);
    let (diff, ..) = compare(&output[0], &tensor(&dir, "out0").unwrap().slice_rows(0..2));
    assert!(diff < 1e-4);
}

#[track_caller]
fn refused(path: &str, bytes: &[u8], expected: &str) {
    let file = ModelFile { path: Path::new(path), bytes: Bytes::copy_from_slice(bytes) };
    let error = engine().load(&file, &options(Precision::F32)).err().unwrap().to_string();
    assert!(error.starts_with("openvino can't load the model: "), "{error}");
    assert!(error.contains(expected) && !error.contains('\n'), "{error}");
}

#[test]
fn what_is_no_model_is_refused() {
    let good = std::fs::read(root().join("cases/fashion_student_plain/model.onnx")).unwrap();
    refused("m.onnx", b"", "the file is empty");
    refused("m.onnx", &good[..good.len() / 2], "cut off");
    refused("m.onnx", b"not a model at all", "no ONNX file");
    refused("m.onnx", &[0; 64], "no ONNX file");
    refused("m.onnx", b"\x08\x08", "no graph");
    for (name, expected) in [
        ("external/external.onnx", "other files (w.bin)"),
        ("string.onnx", "x has the unsupported type String"),
        ("missing_weight.onnx", "fc.weight"),
        ("no_such_op.onnx", "NoSuchOp"),
        ("short_weight.onnx", "fc.weight"),
    ] {
        let bytes = std::fs::read(root().join("cases/refused").join(name)).unwrap();
        refused(name, &bytes, expected);
    }
    for (name, expected) in [("double_precise", "FP64"), ("unused_input", "u, x")] {
        let bytes = std::fs::read(root().join(format!("cases/{name}/model.onnx"))).unwrap();
        refused(name, &bytes, expected);
    }
}

#[test]
fn wide_numbers_are_not_cut_silently() {
    let dir = root().join("cases/int64_big");
    let model = load(&dir.join("model.onnx"), &options(Precision::F32)).unwrap();
    let error = model.run(&Batch::of(&tensors(&dir, "in"))).unwrap_err().to_string();
    assert!(error.contains("32 bits"), "{error}");
    let fine = Tensor::from_f64s(DType::I64, vec![1, 4], &[-2147483648.0, 2147483647.0, 0.0, 1.0]).unwrap();
    let outputs = model.run(&Batch::of(std::slice::from_ref(&fine))).unwrap();
    assert_eq!(outputs[0].bytes(), fine.bytes());
}

#[test]
fn tensorflow_lite_is_read() {
    for name in ["face_detection_front", "face_landmark", "iris_landmark", "face_detection_full_range_sparse"] {
        let dir = root().join("tflite").join(name);
        let model = load(&root().join(format!("models/{name}.tflite")), &options(Precision::F32)).unwrap();
        assert_eq!(model.signature().batch_mode, BatchMode::Fixed(1), "{name}");
        let outputs = model.run(&Batch::of(&tensors(&dir, "in"))).unwrap();
        for (got, want) in outputs.iter().zip(tensors(&dir, "out")) {
            let (diff, _, size, _) = compare(got, &want);
            assert!(diff <= 1e-4 * size.max(1.0), "{name}: {diff} of {size}");
        }
    }
    let good = std::fs::read(root().join("models/iris_landmark.tflite")).unwrap();
    refused("m.tflite", &good[..good.len() / 2], "corrupted");
    refused("m.tflite", &good[..8], "TensorFlow Lite");
}

#[test]
fn pace_is_asked_and_obeyed() {
    struct Never;
    impl Pace for Never {
        fn go_on(&self) -> bool {
            false
        }
    }
    let dir = root().join("cases/fashion_student_plain");
    let model = load(&dir.join("model.onnx"), &options(Precision::F32)).unwrap();
    let batch = Batch::of(&[tensor(&dir, "in0").unwrap().slice_rows(0..3)]);
    assert!(matches!(model.run_paced(&batch, &Never), Err(EngineError::GaveWay)));
}

#[test]
fn another_library_is_refused() {
    engine();
    let other = OpenVino::open(Path::new("/usr/lib/libm.so.6")).unwrap_err().to_string();
    assert_eq!(other, "openvino can't use the library /usr/lib/libm.so.6: its name doesn't start with `libopenvino_c`");
    let taken = OpenVino::open(Path::new("/nowhere/libopenvino_c.so")).unwrap_err().to_string();
    assert!(taken.contains("already uses"), "{taken}");
}
