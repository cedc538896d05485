//! Inputs to try engines on: pictures with some structure through the model's own pipeline, and numbers
//! without any for what takes no pictures. The same on every machine.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use crate::engine::{BatchMode, Signature};
use crate::repository::load::image_input;
use crate::repository::spec::ModelSpecFile;
use crate::tensor::{DType, Tensor};
use crate::vision::{ImageLimits, ImagePipeline};

/// Rows of the larger request, where any number may be.
const ROWS: usize = 3;

/// Requests, each a tensor for every input; the first is of the fewest rows. `None` if the model has dimensions that
/// nothing is known of.
pub(crate) fn samples(spec: &ModelSpecFile, signature: &Signature) -> Option<Vec<Vec<Tensor>>> {
    let rows = match signature.batch_mode {
        BatchMode::Rows => vec![1, ROWS],
        BatchMode::Fixed(n) => vec![n],
        BatchMode::Whole => vec![1],
    };
    (1..).zip(rows).map(|(seed, rows)| sample(spec, signature, rows, seed)).collect()
}

/// One of so many rows.
pub(crate) fn sample(
    spec: &ModelSpecFile,
    signature: &Signature,
    rows: usize,
    seed: u32,
) -> Option<Vec<Tensor>> {
    // A declaration that doesn't fit is told when the version is put together.
    let image = image_input(spec, signature).ok().flatten();
    let inputs = signature.inputs.iter().enumerate().map(|(at, spec)| match &image {
        Some((input, pipeline)) if *input == at => {
            let pictures = (0..rows).map(|row| picture(pipeline, seed * 31 + row as u32));
            Tensor::concat_rows(&pictures.collect::<Option<Vec<_>>>()?)
        }
        _ => numbers(spec.dtype, signature.input_shape(spec, rows)?, seed),
    });
    inputs.collect()
}

/// Waves of several lengths and directions under some noise, encoded and decoded as a client's would be.
fn picture(pipeline: &ImagePipeline, seed: u32) -> Option<Tensor> {
    let (height, width) = pipeline.size();
    let (height, width) = (u32::try_from(height).ok()?, u32::try_from(width).ok()?);
    let mut noise = Noise(seed.wrapping_mul(2_654_435_761) | 1);
    let picture = RgbImage::from_fn(width, height, |x, y| {
        let wave = |k: f32, phase: f32| {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            let angle = seed as f32 * 0.7 + phase;
            (k * (x * angle.cos() + y * angle.sin()) + phase).sin()
        };
        Rgb([0.0f32, 2.0, 4.0].map(|phase| {
            let value = 128.0 + 60.0 * wave(6.0, phase) + 40.0 * wave(23.0, phase * 3.0);
            (value + 25.0 * noise.next()).clamp(0.0, 255.0) as u8
        }))
    });
    let mut encoded = Cursor::new(Vec::new());
    picture.write_to(&mut encoded, ImageFormat::Png).ok()?;
    let (tensor, _) = pipeline.run(encoded.get_ref(), &ImageLimits::default()).ok()?;
    Some(tensor)
}

fn numbers(dtype: DType, shape: Vec<usize>, seed: u32) -> Option<Tensor> {
    let count = shape.iter().product();
    let mut noise = Noise(seed.wrapping_mul(2_654_435_761) | 1);
    let values: Vec<f64> = (0..count)
        .map(|_| {
            let value = f64::from(noise.next());
            match dtype {
                DType::U8 => ((value + 1.0) * 127.5).round(),
                // An index into something: small, so that it exists.
                dtype if dtype.is_integer() => f64::from(u8::from(value > 0.0)),
                _ => value,
            }
        })
        .collect();
    Tensor::from_f64s(dtype, shape, &values).ok()
}

/// Numbers between -1 and 1, by xorshift.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 as f32 / u32::MAX as f32) * 2.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Dim, TensorSpec};

    fn spec(dtype: DType, shape: &[Dim]) -> TensorSpec {
        TensorSpec { name: "x".into(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn numbers_fill_what_the_model_takes_and_are_the_same_again() {
        let n = Dim::Dynamic("n".into());
        let of = |dtype, dims: &[Dim]| {
            let one = spec(dtype, dims);
            let signature = Signature::new(vec![one.clone()], vec![one]);
            samples(&ModelSpecFile::default(), &signature)
        };
        let requests = of(DType::F32, &[n.clone(), Dim::Fixed(5)]).unwrap();
        let shapes: Vec<_> = requests.iter().map(|r| r[0].shape().to_vec()).collect();
        assert_eq!(shapes, [[1, 5], [ROWS, 5]]);
        let values = requests[1][0].to_f32().unwrap();
        assert!(values.iter().all(|v| v.abs() <= 1.0) && values.iter().any(|v| *v < -0.1));
        assert_eq!(of(DType::F32, &[n.clone(), Dim::Fixed(5)]).unwrap()[1], requests[1]);
        assert_eq!(of(DType::F32, &[Dim::Fixed(4), Dim::Fixed(5)]).unwrap()[0][0].rows(), 4);
        assert!(of(DType::F32, &[n, Dim::Dynamic("h".into())]).is_none());
    }

    #[test]
    fn pictures_go_through_the_models_own_pipeline() {
        let toml = "[input]\nkind = \"image\"\nlayout = \"nchw\"\nscale = 0.00392156862745098\n";
        let file = ModelSpecFile::parse(toml, std::path::Path::new("model.toml")).unwrap();
        let dims = [Dim::Dynamic("n".into()), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(6)];
        let one = spec(DType::F32, &dims);
        let requests = samples(&file, &Signature::new(vec![one.clone()], vec![one])).unwrap();
        assert_eq!(requests[1][0].shape(), [ROWS, 3, 8, 6]);
        let values = requests[1][0].to_f32().unwrap();
        assert!(values.iter().all(|v| (0.0..=1.0).contains(v)), "{values:?}");
        let rows = requests[1][0].slice_rows(0..1) != requests[1][0].slice_rows(1..2);
        assert!(rows, "the pictures of a request are all the same");
    }
}
