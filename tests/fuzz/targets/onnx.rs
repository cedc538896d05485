//! ONNX files: the summary, and the engine's load. An engine's own panic has to be caught there.
#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ocelli::engine::{self, ModelFile};

fuzz_target!(
    // libFuzzer's own hook aborts on a panic before it can be caught. What escapes is a crash.
    init: std::panic::set_hook(Box::new(|_| {})),
    |data: &[u8]| {
        let run = AssertUnwindSafe(|| {
            let _ = ocelli::onnx::Summary::read(Bytes::copy_from_slice(data));
            let engine = engine::Engines::embedded().reference().clone();
            let file = ModelFile { path: Path::new("model.onnx"), bytes: Bytes::copy_from_slice(data) };
            let _ = engine::load(engine.as_ref(), &file, &engine::LoadOptions::default());
        });
        if catch_unwind(run).is_err() {
            std::process::abort();
        }
    }
);
