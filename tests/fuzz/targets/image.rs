//! Encoded images through the whole pipeline: decode, orient, resize, normalise.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ocelli::engine::{Dim, TensorSpec};
use ocelli::tensor::DType;
use ocelli::vision::{ImageLimits, ImagePipeline, InputSpec};

/// A crop, a stretch and a letterbox, in colour and in grey, of all of a JPEG or of a part.
static PIPELINES: LazyLock<Vec<ImagePipeline>> = LazyLock::new(|| {
    ["crop", "stretch", "letterbox"]
        .iter()
        .zip([("rgb", 3, "scaled"), ("bgr", 3, "full"), ("gray", 1, "scaled")])
        .map(|(resize, (colour, depth, decode))| {
            let text = format!(
                "kind = \"image\"\nsize = 8\nresize = \"{resize}\"\ncolour = \"{colour}\"\ndecode = \"{decode}\""
            );
            let InputSpec::Image(spec) = toml::from_str(&text).expect("a valid spec") else {
                unreachable!()
            };
            let shape = [1, depth, 8, 8].map(Dim::Fixed).to_vec();
            let input = TensorSpec { name: "x".into(), dtype: DType::F32, shape };
            ImagePipeline::new(&spec, &input).expect("a fitting input")
        })
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let limits = ImageLimits { max_pixels: 1 << 16, max_bytes: 1 << 16 };
    let data = Bytes::copy_from_slice(data);
    let which = data.last().map_or(0, |b| usize::from(*b) % PIPELINES.len());
    if let Ok((tensor, _)) = PIPELINES[which].run(&data, &limits) {
        let depth = if which == 2 { 1 } else { 3 };
        assert_eq!(tensor.shape(), [1, depth, 8, 8]);
        let numbers = tensor.to_f32().expect("floats");
        assert!(numbers.iter().all(|n| (0.0..=255.0).contains(n)));
    }
});
