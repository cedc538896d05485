//! Manifests of sources: whatever is read stays below the directory that it is joined to, and is read again as
//! it was.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use ocelli::source::manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    for key in manifest.files().keys() {
        let path = Path::new("/cache").join(key.to_string());
        assert!(path.components().skip(1).all(|part| matches!(part, Component::Normal(_))));
        assert!(path.starts_with(Path::new("/cache").join(key.model())));
    }
    let text = manifest.text().expect("a manifest is JSON");
    assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
});
