//! `model.toml`.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use ocelli::repository::spec::ModelSpecFile;

fuzz_target!(|text: &str| {
    if let Ok(spec) = ModelSpecFile::parse(text, Path::new("model.toml")) {
        // What was accepted can be asked for everything.
        let _ = spec.traffic();
        let chosen = spec.versions.select(&(1..5).collect());
        assert!(chosen.iter().all(|v| (1..5).contains(v)));
    }
});
