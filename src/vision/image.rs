//! The whole way from a photo's encoded bytes to one row of a model's input.

use bytes::Bytes;

use super::decode::{ImageLimits, decode};
use super::error::VisionError;
use super::input_spec::{Decode, Filter, ImageSpec, Layout, ResizeMode};
use super::normalise::Normaliser;
use super::placement::Placement;
use super::resize::resize;
use crate::engine::{Dim, TensorSpec};
use crate::tensor::{DType, Tensor};

/// Turns photos into a model's input.
#[derive(Clone, Debug)]
pub struct ImagePipeline {
    input: String,
    dtype: DType,
    /// Width and height.
    target: (u32, u32),
    shape: Vec<usize>,
    layout: Layout,
    resize: ResizeMode,
    crop_fraction: f32,
    filter: Filter,
    decode: Decode,
    pad: u8,
    normaliser: Normaliser,
}

/// How much larger than the model's input a JPEG is decoded at the least: the resampling that follows then
/// hardly sees the difference. (Pillow's `Image.thumbnail` goes by the same, `reducing_gap`.)
const GAP: f64 = 2.0;

/// What the sides may be divided by.
fn shrink(times: f64) -> u32 {
    [8, 4, 2].into_iter().find(|by| times / f64::from(*by) >= GAP).unwrap_or(1)
}

impl ImagePipeline {
    /// Checks what `model.toml` declares against the model's real input.
    pub fn new(spec: &ImageSpec, input: &TensorSpec) -> Result<ImagePipeline, VisionError> {
        let dtype = spec.dtype.unwrap_or(input.dtype);
        let channels = spec.colour.channels();
        let size = spec.size.map(|s| s.height_width());
        let mismatch = || {
            let size = size.map_or_else(|| "HxW".to_owned(), |(h, w)| format!("{h}x{w}"));
            let plural = if channels == 1 { "" } else { "s" };
            let layout = spec.layout.name();
            let name = spec.name.as_ref().map_or_else(String::new, |n| format!("`{n}` with "));
            VisionError::Input {
                declared: format!("{name}{channels} channel{plural} {layout} {size} {dtype}"),
                actual: input.to_string(),
            }
        };
        let [_, a, b, c] = &input.shape[..] else { return Err(mismatch()) };
        let (depth, height, width) = match spec.layout {
            Layout::Nchw => (a, b, c),
            Layout::Nhwc => (c, a, b),
        };
        // A dynamic dimension takes whatever is declared; a fixed one has to be the same.
        let side = |dim: &Dim, declared: Option<u32>| match (dim, declared) {
            (Dim::Fixed(n), None) => u32::try_from(*n).map_err(|_| mismatch()),
            (Dim::Fixed(n), Some(d)) if *n != d as usize => Err(mismatch()),
            (_, Some(d)) => Ok(d),
            (Dim::Dynamic(_), None) => Err(VisionError::Spec(format!(
                "[input] needs a size: the model's input `{input}` does not fix its own"
            ))),
        };
        let named = spec.name.as_ref().is_none_or(|name| *name == input.name);
        if !named || dtype != input.dtype || matches!(depth, Dim::Fixed(n) if *n != channels) {
            return Err(mismatch());
        }
        let (h, w) = (side(height, size.map(|s| s.0))?, side(width, size.map(|s| s.1))?);
        if h == 0 || w == 0 || !(spec.crop_fraction > 0.0 && spec.crop_fraction <= 1.0) {
            return Err(VisionError::Spec(format!(
                "[input] size is {h}x{w} and crop_fraction is {}, expected sides above 0 and a \
                 fraction above 0, at most 1",
                spec.crop_fraction
            )));
        }
        let shape = match spec.layout {
            Layout::Nchw => vec![1, channels, h as usize, w as usize],
            Layout::Nhwc => vec![1, h as usize, w as usize, channels],
        };
        Ok(ImagePipeline {
            input: input.name.clone(),
            dtype,
            target: (w, h),
            shape,
            layout: spec.layout,
            resize: spec.resize,
            crop_fraction: spec.crop_fraction,
            filter: spec.filter,
            decode: spec.decode,
            pad: spec.pad,
            normaliser: Normaliser::new(spec, dtype)?,
        })
    }

    /// The model's input it is for.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The order of the input's dimensions.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Height and width of the model's input, in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.target.1 as usize, self.target.0 as usize)
    }

    /// What `rows` photos would become, to warm a model up with.
    pub fn zeros(&self, rows: usize) -> Option<Tensor> {
        let mut shape = self.shape.clone();
        shape[0] = rows;
        Tensor::zeros(self.dtype, shape).ok()
    }

    /// One photo as one row, shape `[1, …]`, and where in it the photo lies.
    pub fn run(
        &self,
        encoded: &[u8],
        limits: &ImageLimits,
    ) -> Result<(Tensor, Placement), VisionError> {
        let place = |upright| Placement::new(self.resize, self.crop_fraction, upright, self.target);
        let picture = decode(encoded, limits, |upright| match self.decode {
            Decode::Full => 1,
            Decode::Scaled => shrink(place(upright).shrinks()),
        })?;
        let placement = place(picture.turn.size(picture.size));
        let pixels = resize(&picture, &placement, self.filter, self.target, self.pad)?;
        let data = self.normaliser.run(pixels, picture.components);
        let tensor = Tensor::new(self.dtype, self.shape.clone(), Bytes::from(data))
            .map_err(|e| VisionError::Spec(e.to_string()))?;
        Ok((tensor, placement))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Colour, Size};
    use super::*;

    fn input(dtype: DType, dims: &[usize]) -> TensorSpec {
        let mut shape = vec![Dim::Dynamic("batch".into())];
        shape.extend(dims.iter().map(|d| match d {
            0 => Dim::Dynamic(String::new()),
            n => Dim::Fixed(*n),
        }));
        TensorSpec { name: "input".into(), dtype, shape }
    }

    fn fixture(name: &str) -> Vec<u8> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/images/");
        std::fs::read(format!("{dir}{name}")).unwrap()
    }

    #[test]
    fn a_mismatch_names_both_sides() {
        let spec = ImageSpec { size: Some(Size::Square(224)), ..ImageSpec::default() };
        let error = ImagePipeline::new(&spec, &input(DType::F32, &[1, 28, 28])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[input] declares 3 channels nchw 224x224 FP32, but the model's input is \
             `input FP32 [batch,1,28,28]`"
        );
        assert!(!error.is_callers_fault());
    }

    #[test]
    fn a_model_of_any_size_needs_one_declared() {
        let any = input(DType::F32, &[3, 0, 0]);
        let error = ImagePipeline::new(&ImageSpec::default(), &any).unwrap_err().to_string();
        assert!(error.contains("needs a size"), "{error}");
        let spec = ImageSpec { size: Some(Size::HeightWidth([8, 6])), ..ImageSpec::default() };
        let pipeline = ImagePipeline::new(&spec, &any).unwrap();
        let (tensor, _) = pipeline.run(&fixture("palette.png"), &ImageLimits::default()).unwrap();
        assert_eq!((pipeline.size(), tensor.shape()), ((8, 6), &[1, 3, 8, 6][..]));
    }

    #[test]
    fn every_orientation_is_seen_upright() {
        // A 48 × 32 JPEG whose stored left half is red and right half blue, tagged each way.
        let plain = fixture("orientation6.jpg");
        let tag = plain.windows(4).position(|w| w == b"\x01\x12\0\x03").unwrap() + 9;
        assert_eq!(plain[tag], 6);
        let pipeline = |decode| {
            let spec = ImageSpec {
                resize: ResizeMode::Stretch,
                filter: Filter::Nearest,
                layout: Layout::Nhwc,
                decode,
                ..ImageSpec::default()
            };
            ImagePipeline::new(&spec, &input(DType::U8, &[4, 4, 3])).unwrap()
        };
        let [full, scaled] = [Decode::Full, Decode::Scaled].map(pipeline);
        // Where red is to be seen, and whether the upright photo stands.
        let expected = ["left", "right", "right", "left", "top", "top", "bottom", "bottom"];
        for ((exif, red), pipeline) in
            (1..=8u8).zip(expected).flat_map(|of| [(of, &full), (of, &scaled)])
        {
            let mut photo = plain.clone();
            photo[tag] = exif;
            let (tensor, placement) = pipeline.run(&photo, &ImageLimits::default()).unwrap();
            let is_red = |x: usize, y: usize| {
                let at = (y * 4 + x) * 3;
                tensor.bytes()[at] > tensor.bytes()[at + 2]
            };
            let seen = match [is_red(0, 0), is_red(3, 0), is_red(0, 3), is_red(3, 3)] {
                [true, false, true, false] => "left",
                [false, true, false, true] => "right",
                [true, true, false, false] => "top",
                [false, false, true, true] => "bottom",
                other => panic!("{exif}: {other:?}"),
            };
            assert_eq!(seen, red, "{exif}");
            let size = if exif < 5 { (48, 32) } else { (32, 48) };
            assert_eq!(placement.source, size, "{exif}");
        }
    }

    #[test]
    fn a_photo_of_which_a_part_is_decoded_looks_almost_the_same() {
        let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos/china.jpg");
        let photo = std::fs::read(photo).unwrap();
        let run = |decode, side| {
            let spec = ImageSpec { decode, layout: Layout::Nhwc, ..ImageSpec::default() };
            let pipeline = ImagePipeline::new(&spec, &input(DType::U8, &[side, side, 3])).unwrap();
            let (tensor, placement) = pipeline.run(&photo, &ImageLimits::default()).unwrap();
            (tensor.bytes().to_vec(), placement)
        };
        // 374 pixels of the photo become 90, which is less than a quarter and not an eighth.
        let ((full, at), (scaled, at_too)) = (run(Decode::Full, 90), run(Decode::Scaled, 90));
        assert_eq!(at, at_too);
        assert_ne!(full, scaled);
        let off = full.iter().zip(&scaled).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let mean = off.clone().sum::<u64>() as f64 / full.len() as f64;
        assert!(mean < 2.0 && off.max() < Some(40), "{mean}");
        // What the model sees nearly all of is decoded as a whole.
        assert_eq!(run(Decode::Full, 200), run(Decode::Scaled, 200));
    }

    #[test]
    fn a_colour_photo_suits_a_grey_model_and_a_grey_one_a_colour_model() {
        let limits = ImageLimits::default();
        let spec = ImageSpec { colour: Colour::Gray, ..ImageSpec::default() };
        let grey = ImagePipeline::new(&spec, &input(DType::U8, &[1, 1, 1])).unwrap();
        let (tensor, _) = grey.run(&fixture("rgba.webp"), &limits).unwrap();
        assert_eq!(tensor.bytes()[..], [90], "luma of 200, 40, 60");
        let colour =
            ImagePipeline::new(&ImageSpec::default(), &input(DType::U8, &[3, 1, 1])).unwrap();
        let (tensor, _) = colour.run(&fixture("grey_alpha.png"), &limits).unwrap();
        assert_eq!(tensor.bytes()[..], [90, 90, 90]);
    }
}
