//! The `[input]` table of `model.toml`.

use serde::{Deserialize, Deserializer};

use super::error::VisionError;
use crate::engine::TensorSpec;
use crate::tensor::DType;

/// What a model's input stands for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputSpec {
    /// An encoded photo.
    Image(ImageSpec),
}

/// How a photo becomes the model's input: each value is `(pixel × scale − mean) / std`, with
/// pixels from 0 to 255.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSpec {
    /// The model's input; may be left out if there is only one.
    pub name: Option<String>,
    /// Height and width in pixels; by default those the model fixes.
    pub size: Option<Size>,
    /// How a photo of another aspect is made to fit.
    pub resize: ResizeMode,
    /// The share of the largest box of the right aspect that a crop takes; only for
    /// [`ResizeMode::Crop`].
    pub crop_fraction: f32,
    /// The resampling filter.
    pub filter: Filter,
    /// How much of a JPEG is decoded.
    pub decode: Decode,
    /// The order of the channels.
    #[serde(alias = "color")]
    pub colour: Colour,
    /// The order of the dimensions.
    pub layout: Layout,
    /// Multiplies a pixel, before the mean is taken off.
    pub scale: f32,
    /// Taken off each channel.
    pub mean: PerChannel,
    /// Divides each channel.
    pub std: PerChannel,
    /// The model input's element type, to have it checked; by default whatever it is.
    #[serde(deserialize_with = "dtype")]
    pub dtype: Option<DType>,
    /// The pixel value around a letterboxed photo.
    pub pad: u8,
}

/// How much of a JPEG is decoded that is larger than the model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Every pixel.
    #[default]
    Full,
    /// A half, a quarter or an eighth of each side, as the format allows it at a part of the cost: the least
    /// that is still twice as large as what the model sees. Pixels differ a little from the full ones.
    Scaled,
}

impl Default for ImageSpec {
    fn default() -> ImageSpec {
        ImageSpec {
            name: None,
            size: None,
            resize: ResizeMode::default(),
            crop_fraction: 0.875,
            filter: Filter::default(),
            decode: Decode::default(),
            colour: Colour::default(),
            layout: Layout::default(),
            scale: 1.0,
            mean: PerChannel::Same(0.0),
            std: PerChannel::Same(1.0),
            dtype: None,
            pad: 114,
        }
    }
}

impl ImageSpec {
    /// The input this describes, among a model's inputs.
    pub fn input<'a>(&self, inputs: &'a [TensorSpec]) -> Result<&'a TensorSpec, VisionError> {
        let found = match (&self.name, inputs) {
            (Some(name), _) => inputs.iter().find(|i| i.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.ok_or_else(|| {
            let names: Vec<_> = inputs.iter().map(|i| i.name.as_str()).collect();
            VisionError::Spec(match &self.name {
                Some(name) => format!(
                    "[input] name is `{name}`, but the model's inputs are `{}`",
                    names.join("`, `")
                ),
                None => format!(
                    "[input] needs a name: the model has {} inputs, `{}`",
                    names.len(),
                    names.join("`, `")
                ),
            })
        })
    }
}

/// `[height, width]`, or one number for a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a number of pixels, or [height, width]")]
pub enum Size {
    /// Height and width are the same.
    Square(u32),
    /// Height, then width.
    HeightWidth([u32; 2]),
}

impl Size {
    /// Height and width in pixels.
    pub fn height_width(self) -> (u32, u32) {
        match self {
            Size::Square(side) => (side, side),
            Size::HeightWidth([height, width]) => (height, width),
        }
    }
}

/// One number for all channels, or one for each, in the order of the model's channels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list with one for each channel")]
pub enum PerChannel {
    /// The same for every channel.
    Same(f32),
    /// One for each channel.
    Each(Vec<f32>),
}

impl PerChannel {
    /// The value for each of `channels`; `None` if there are more or fewer.
    pub fn expand(&self, channels: usize) -> Option<Vec<f32>> {
        match self {
            PerChannel::Same(value) => Some(vec![*value; channels]),
            PerChannel::Each(values) => (values.len() == channels).then(|| values.clone()),
        }
    }
}

/// How a photo of another aspect is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeMode {
    /// The centre is cut out in the model's aspect; the rest is lost.
    #[default]
    Crop,
    /// The whole photo, distorted.
    Stretch,
    /// The whole photo, undistorted, with bars beside it.
    Letterbox,
}

/// A resampling filter; all but `Nearest` are antialiased when shrinking, as PIL's are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// A triangle.
    #[default]
    Bilinear,
    /// Catmull-Rom, a = −0.5.
    Bicubic,
    /// Windowed sinc over three lobes.
    Lanczos3,
}

/// The order of the channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel, ITU-R 601 luma.
    Gray,
}

impl Colour {
    /// How many channels a pixel has.
    pub fn channels(self) -> usize {
        match self {
            Colour::Rgb | Colour::Bgr => 3,
            Colour::Gray => 1,
        }
    }
}

/// The order of the dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Batch, channels, height, width.
    #[default]
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

impl Layout {
    /// The name in `model.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        }
    }
}

fn dtype<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DType>, D::Error> {
    let name = String::deserialize(from)?;
    let found = DType::ALL.into_iter().find(|d| d.name() == name);
    found.map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!("dtype is `{name}`, expected FP32, FP16, BF16 or UINT8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        input: InputSpec,
    }

    fn parse(text: &str) -> Result<ImageSpec, String> {
        let InputSpec::Image(spec) = toml::from_str::<File>(text).map_err(|e| e.to_string())?.input;
        Ok(spec)
    }

    #[test]
    fn an_image_needs_no_more_than_its_kind() {
        assert_eq!(parse("[input]\nkind = 'image'").unwrap(), ImageSpec::default());
    }

    #[test]
    fn every_key_is_read() {
        let spec = parse(
            "[input]\nkind = 'image'\nname = 'x'\nsize = [8, 9]\nresize = 'letterbox'\n\
             crop_fraction = 1.0\nfilter = 'lanczos3'\ndecode = 'scaled'\ncolor = 'bgr'\nlayout = 'nhwc'\n\
             scale = 0.5\nmean = 127\nstd = [1, 2.5, 3]\ndtype = 'FP16'\npad = 0",
        );
        let expected = ImageSpec {
            name: Some("x".into()),
            size: Some(Size::HeightWidth([8, 9])),
            resize: ResizeMode::Letterbox,
            crop_fraction: 1.0,
            decode: Decode::Scaled,
            filter: Filter::Lanczos3,
            colour: Colour::Bgr,
            layout: Layout::Nhwc,
            scale: 0.5,
            mean: PerChannel::Same(127.0),
            std: PerChannel::Each(vec![1.0, 2.5, 3.0]),
            dtype: Some(DType::F16),
            pad: 0,
        };
        assert_eq!(spec.unwrap(), expected);
    }

    #[test]
    fn refuses_unknown_keys_and_values_by_name() {
        let said = |text: &str, what: &str| {
            let error = parse(&format!("[input]\n{text}")).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        said("kind = 'image'\nmeen = 1.0", "meen");
        said("kind = 'sound'", "sound");
        said("size = 224", "kind");
        said("kind = 'image'\nsize = 'big'", "[height, width]");
        said("kind = 'image'\ndtype = 'FP8'", "FP8");
    }
}
