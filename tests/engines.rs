//! The engines that are found at run time: the same answers as the embedded one's, from memory that is used
//! again. Where a library isn't there its tests have nothing to do, and say so; tests/engines/run, which
//! installs the libraries, has that count as a failure.

use std::path::Path;
use std::sync::Arc;

use ocelli::engine::{
    self, Batch, BatchMode, Engine, EngineError, Engines, Found, Libraries, LoadOptions, Model,
    ModelFile, Precision,
};
use ocelli::repository::choice::Memory;
use ocelli::repository::load::{LoadedVersion, Loader};
use ocelli::tensor::{DType, Tensor};

use crate::support::allocations::allocated;
use crate::support::onnx::D::{N, S};
use crate::support::{onnx, put};

const LITE0: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/efficientnet_lite0/1/model.onnx");

fn engines() -> Engines {
    let setting = |name: &str| std::env::var(name).unwrap_or_default().parse().unwrap();
    Engines::find(&Libraries {
        onnxruntime: setting("OCELLI_ONNXRUNTIME_LIBRARY"),
        openvino: setting("OCELLI_OPENVINO_LIBRARY"),
    })
}

/// The engines with a library that is here, but for the embedded one.
fn found() -> Vec<Arc<dyn Engine>> {
    let engines = engines();
    let here = |e: &&Arc<dyn Engine>| match e.about().found {
        Found::At(_) => true,
        Found::Embedded => false,
        Found::Missing(reason) => {
            let required = std::env::var_os("OCELLI_TEST_ENGINES").is_some();
            assert!(!required, "{} is required: {reason}", e.name());
            eprintln!("{} is not tried: {reason}", e.name());
            false
        }
    };
    engines.all().iter().filter(here).cloned().collect()
}

fn reference() -> Arc<dyn Engine> {
    Engines::embedded().reference().clone()
}

/// Loads a model as the repository does: what the embedded engine knows of it is told.
fn load(
    engine: &dyn Engine,
    bytes: &[u8],
    precision: Precision,
    known: Option<&dyn Model>,
) -> Result<Arc<dyn Model>, EngineError> {
    let file = ModelFile { path: Path::new("/nowhere/model.onnx"), bytes: bytes.to_vec().into() };
    let known = known.map(Model::signature);
    let options = LoadOptions { precision, known, instances: 4, ..LoadOptions::default() };
    engine::load(engine, &file, &options)
}

/// A model by the embedded engine and by another one.
fn both(engine: &dyn Engine, bytes: &[u8]) -> (Arc<dyn Model>, Arc<dyn Model>) {
    let expected = load(reference().as_ref(), bytes, Precision::F32, None).unwrap();
    let model = load(engine, bytes, Precision::F32, Some(expected.as_ref())).unwrap();
    assert_eq!(model.signature(), expected.signature(), "{}", engine.name());
    (expected, model)
}

fn run(model: &dyn Model, inputs: &[Tensor]) -> Vec<Tensor> {
    model.run(&Batch::of(inputs)).unwrap()
}

fn pixels(rows: usize) -> Tensor {
    let count = rows * 3 * 224 * 224;
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
    Tensor::from_f32(vec![rows, 3, 224, 224], &values).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
    let pairs = a.to_f32().unwrap().into_iter().zip(b.to_f32().unwrap());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_classifier_gives_the_same_by_every_engine_for_every_number_of_rows() {
    let bytes = std::fs::read(LITE0).unwrap();
    for engine in found() {
        let (expected, model) = both(engine.as_ref(), &bytes);
        assert_eq!(model.signature().batch_mode, BatchMode::Rows);
        for rows in [1, 3, 2, 1] {
            let inputs = [pixels(rows)];
            let (a, b) = (run(expected.as_ref(), &inputs), run(model.as_ref(), &inputs));
            let largest = a[0].to_f32().unwrap().into_iter().fold(0.0, f32::max);
            let difference = largest_difference(&a[0], &b[0]);
            assert!(difference <= 1e-3 * largest, "{} {rows}: {difference}", engine.name());
        }
    }
}

#[test]
fn bf16_is_less_exact_and_only_where_it_is_asked_for() {
    let bytes = std::fs::read(LITE0).unwrap();
    let expected = load(reference().as_ref(), &bytes, Precision::F32, None).unwrap();
    let inputs = [pixels(1)];
    let exact = run(expected.as_ref(), &inputs);
    let largest = exact[0].to_f32().unwrap().into_iter().fold(0.0, f32::max);
    for engine in found() {
        let bf16 = load(engine.as_ref(), &bytes, Precision::Bf16, Some(expected.as_ref()));
        if !engine.about().precisions.contains(&Precision::Bf16) {
            let error = bf16.err().unwrap().to_string();
            assert!(error.contains("it doesn't compute in bf16 on this machine"), "{error}");
            continue;
        }
        let of = |model: &dyn Model| largest_difference(&run(model, &inputs)[0], &exact[0]);
        let coarse = of(bf16.unwrap().as_ref());
        let f32 = load(engine.as_ref(), &bytes, Precision::F32, Some(expected.as_ref())).unwrap();
        let fine = of(f32.as_ref());
        assert!(fine <= 1e-4 * largest, "{}: f32 is off by {fine}", engine.name());
        assert!(coarse > 10.0 * fine && coarse < 0.1 * largest, "{}: {coarse}", engine.name());
    }
}

#[test]
fn every_way_to_batch_is_the_same_by_every_engine() {
    let t = |shape: &[usize], v: &[f32]| Tensor::from_f32(shape.to_vec(), v).unwrap();
    for engine in found() {
        let check = |bytes: &[u8], inputs: &[Tensor], mode: BatchMode| {
            let (expected, model) = both(engine.as_ref(), bytes);
            assert_eq!(model.signature().batch_mode, mode);
            let (a, b) = (run(expected.as_ref(), inputs), run(model.as_ref(), inputs));
            assert_eq!(a.len(), b.len());
            a.iter().zip(&b).for_each(|(a, b)| assert!(largest_difference(a, b) < 1e-5));
            b
        };
        let rows = t(&[3, 2], &[1., -2., 3., -4., 5., -6.]);
        let sums = check(&onnx::column_sums(2), std::slice::from_ref(&rows), BatchMode::Whole);
        assert_eq!(sums[0].to_f32().unwrap(), [9., -12.]);
        // One row at a time, which makes three runs of a batch of three.
        let relu = check(&onnx::relu_of_one(2), std::slice::from_ref(&rows), BatchMode::Fixed(1));
        assert_eq!(relu[0].to_f32().unwrap(), [1., 0., 3., 0., 5., 0.]);
        let two = [rows.clone(), t(&[3, 2], &[1., 1., 1., 1., 1., 1.])];
        let both = check(&onnx::sum_and_difference(2), &two, BatchMode::Rows);
        assert_eq!(both[1].to_f32().unwrap(), [0., -3., 2., -5., 4., -7.]);
        // Four rows a run: the second is padded.
        let fixed = onnx::identity("four", &[N(4), N(1)]);
        let five = t(&[5, 1], &[1., 2., 3., 4., 5.]);
        let same = check(&fixed, std::slice::from_ref(&five), BatchMode::Fixed(4));
        assert_eq!(same[0].to_f32().unwrap(), [1., 2., 3., 4., 5.]);
        // A dimension beside the batch that each request chooses.
        let wide = onnx::identity("wide", &[S("batch"), S("n")]);
        for n in [2, 5, 2] {
            let values: Vec<f32> = (0..3 * n).map(|i| i as f32).collect();
            let same = check(&wide, &[t(&[3, n], &values)], BatchMode::Rows);
            assert_eq!(same[0].shape(), [3, n]);
        }
    }
}

#[test]
fn threads_that_share_a_model_get_their_own_answers() {
    let bytes = std::fs::read(LITE0).unwrap();
    for engine in found() {
        let (_, model) = both(engine.as_ref(), &bytes);
        let requests: Vec<_> = (0..4)
            .map(|i| {
                let values = pixels(1).to_f32().unwrap();
                let values: Vec<f32> = values.iter().map(|v| v * (i as f32 - 1.5)).collect();
                [Tensor::from_f32(vec![1, 3, 224, 224], &values).unwrap()]
            })
            .collect();
        let alone: Vec<_> = requests.iter().map(|r| run(model.as_ref(), r)).collect();
        std::thread::scope(|scope| {
            for (request, alone) in requests.iter().zip(&alone) {
                let model = &model;
                scope.spawn(move || {
                    // Held on to, so that buffers can't be the next run's yet.
                    let runs: Vec<_> = (0..12).map(|_| run(model.as_ref(), request)).collect();
                    for outputs in runs {
                        let difference = largest_difference(&outputs[0], &alone[0]);
                        assert!(difference < 1e-6, "{difference}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_run_uses_the_memory_of_the_one_before() {
    let bytes = std::fs::read(LITE0).unwrap();
    for engine in found() {
        let (_, model) = both(engine.as_ref(), &bytes);
        let inputs = [pixels(2)];
        let batch = Batch::of(&inputs);
        let address = |outputs: &[Tensor]| outputs[0].bytes().as_ptr() as usize;
        let first = model.run(&batch).unwrap();
        let held = address(&first);
        // What an answer still holds is not written over.
        let second = model.run(&batch).unwrap();
        assert_ne!(address(&second), held);
        drop((first, second));
        let both = {
            let (a, b) = (model.run(&batch).unwrap(), model.run(&batch).unwrap());
            [address(&a), address(&b)]
        };
        assert!(both.contains(&held), "{}: {both:x?} and {held:x}", engine.name());
        // The lists and handles of a run; nothing that grows with the tensors, of which an input has
        // 1.2 MB and an output 8 kB.
        let (outputs, counted) = allocated(|| model.run(&batch).unwrap());
        drop(outputs);
        assert!(counted.largest <= 512, "{}: {counted:?}", engine.name());
        assert!(counted.count <= 16, "{}: {counted:?}", engine.name());
        // Nor if batches differ in size, once each size was there.
        let sizes = [1, 3, 2, 5].map(|rows| [pixels(rows)]);
        let addresses = |most: usize| {
            sizes.each_ref().map(|inputs| {
                let batch = Batch::of(inputs);
                let (outputs, counted) = allocated(|| model.run(&batch).unwrap());
                assert!(counted.largest <= most, "{}: {counted:?}", engine.name());
                address(&outputs)
            })
        };
        assert_eq!(addresses(usize::MAX), addresses(512), "{}", engine.name());
    }
}

#[test]
fn what_is_no_model_is_told_by_name_and_does_no_harm() {
    for engine in found() {
        for bytes in [&b"no model"[..], &[], &std::fs::read(LITE0).unwrap()[..5000]] {
            let error = load(engine.as_ref(), bytes, Precision::F32, None).err().unwrap();
            let told = error.to_string();
            let start = format!("{} can't load the model: ", engine.name());
            assert!(told.starts_with(&start) && !told.contains('\n'), "{told}");
        }
        let (_, model) = both(engine.as_ref(), &onnx::affine(2, 1, &[2.0, 3.0]));
        // The engine is asked for what no caller lets through, and says so.
        let wrong = Tensor::from_f32(vec![1, 5], &[0.0; 5]).unwrap();
        let error = model.run(&Batch::of(&[wrong])).unwrap_err();
        assert!(matches!(error, EngineError::Run { .. }), "{error}");
        let right = Tensor::from_f32(vec![1, 2], &[1.0, 1.0]).unwrap();
        assert_eq!(run(model.as_ref(), &[right])[0].to_f32().unwrap(), [5.0]);
        assert_eq!(model.signature().inputs[0].dtype, DType::F32);
    }
}

/// Loads version 1 of a model as the repository does.
fn load_version(root: &Path, name: &str, memory: Option<Memory>) -> LoadedVersion {
    let loader = Loader { engines: engines(), memory, ..Loader::embedded() };
    let dir = root.join(name);
    loader.load(&dir, &dir.join("1"), None).unwrap()
}

#[test]
fn what_the_embedded_engine_lacks_is_served_by_another_that_says_so() {
    if !found().iter().any(|e| e.name() == "onnxruntime") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "det", 1, &onnx::determinants(2));
    let version = load_version(root.path(), "det", None);
    assert_eq!(version.engine, "onnxruntime");
    assert!(version.why.starts_with("the only one that serves it: "), "{}", version.why);
    assert!(version.why.contains("tract can't load the model: "), "{}", version.why);
    let x = Tensor::from_f32(vec![2, 2, 2], &[1., 2., 3., 4., 2., 0., 0., 2.]).unwrap();
    let y = run(version.model.as_ref(), &[x])[0].to_f32().unwrap();
    assert!((y[0] + 2.0).abs() < 1e-5 && (y[1] - 4.0).abs() < 1e-5, "{y:?}");
    std::fs::write(root.path().join("det/model.toml"), "engine = \"tract\"").unwrap();
    let dir = root.path().join("det");
    let loader = Loader { engines: engines(), ..Loader::embedded() };
    let error = loader.load(&dir, &dir.join("1"), None).err().unwrap().to_string();
    assert!(error.starts_with("tract can't load the model: "), "{error}");
}

#[test]
fn the_choice_of_an_engine_is_made_once() {
    if found().is_empty() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("cache");
    put(root.path(), "m", 1, &onnx::affine(2, 1, &[2.0, 3.0]));
    let memory = || Memory::at(&cache.to_str().unwrap().parse().unwrap());
    let first = load_version(root.path(), "m", memory());
    assert!(first.why.starts_with("the fastest that agrees with tract: "), "{}", first.why);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    let again = load_version(root.path(), "m", memory());
    assert_eq!((again.engine, again.precision), (first.engine, first.precision));
    assert_eq!(again.why, format!("remembered as {}", first.why));
    // Another model is another choice.
    put(root.path(), "n", 1, &onnx::affine(2, 1, &[4.0, 3.0]));
    let other = load_version(root.path(), "n", memory());
    assert!(!other.why.starts_with("remembered"), "{}", other.why);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 2);
}
