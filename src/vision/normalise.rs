//! Pixels into the model's element type, by a table for each channel.

use super::error::VisionError;
use super::input_spec::{Colour, ImageSpec, Layout};
use crate::tensor::DType;

/// `(pixel × scale − mean) / std` for every pixel value and channel, as little-endian bytes.
#[derive(Clone, Debug)]
pub(super) struct Normaliser {
    tables: Tables,
    colour: Colour,
    layout: Layout,
}

/// One table of 256 elements for each channel, by the element's size.
#[derive(Clone, Debug)]
enum Tables {
    One(Vec<[[u8; 1]; 256]>),
    Two(Vec<[[u8; 2]; 256]>),
    Four(Vec<[[u8; 4]; 256]>),
}

impl Normaliser {
    /// Checks the numbers and fills the tables.
    pub(super) fn new(spec: &ImageSpec, dtype: DType) -> Result<Normaliser, VisionError> {
        let channels = spec.colour.channels();
        let expand = |what: &str, values: &super::PerChannel| {
            values.expand(channels).filter(|v| v.iter().all(|v| v.is_finite())).ok_or_else(|| {
                VisionError::Spec(format!(
                    "[input] {what} is {values:?}, expected a finite number or {channels} of them"
                ))
            })
        };
        let (mean, std) = (expand("mean", &spec.mean)?, expand("std", &spec.std)?);
        if std.contains(&0.0) || !spec.scale.is_finite() {
            return Err(VisionError::Spec(format!(
                "[input] std is {std:?} and scale is {}, expected finite ones and no std of 0",
                spec.scale
            )));
        }
        // Rounded once, at the end: the reference may have computed in either precision.
        let value = |channel: usize, pixel: usize| {
            (pixel as f64 * f64::from(spec.scale) - f64::from(mean[channel]))
                / f64::from(std[channel])
        };
        let tables = match dtype {
            DType::U8 => Tables::One(tables(channels, |c, p| [value(c, p).round() as u8])),
            DType::F16 => {
                Tables::Two(tables(channels, |c, p| half::f16::from_f64(value(c, p)).to_le_bytes()))
            }
            DType::BF16 => Tables::Two(tables(channels, |c, p| {
                half::bf16::from_f64(value(c, p)).to_le_bytes()
            })),
            DType::F32 => Tables::Four(tables(channels, |c, p| (value(c, p) as f32).to_le_bytes())),
            other => {
                return Err(VisionError::Spec(format!(
                    "[input] images can be FP32, FP16, BF16 or UINT8, but the model takes {other}"
                )));
            }
        };
        Ok(Normaliser { tables, colour: spec.colour, layout: spec.layout })
    }

    /// Elements' bytes of one row, from pixels of `components` bytes (see [`super::decode`]).
    pub(super) fn run(&self, pixels: Vec<u8>, components: usize) -> Vec<u8> {
        let colourful = components >= 3;
        let (pixels, components) = if self.colour == Colour::Gray && colourful {
            (luma(&pixels, components), 1)
        } else {
            (pixels, components)
        };
        // Which byte of a pixel each channel takes.
        let take: &[usize] = match self.colour {
            Colour::Gray => &[0],
            _ if !colourful => &[0, 0, 0],
            Colour::Rgb => &[0, 1, 2],
            Colour::Bgr => &[2, 1, 0],
        };
        match &self.tables {
            Tables::One(t) => look_up(t, take, &pixels, components, self.layout),
            Tables::Two(t) => look_up(t, take, &pixels, components, self.layout),
            Tables::Four(t) => look_up(t, take, &pixels, components, self.layout),
        }
    }
}

fn tables<const N: usize>(
    channels: usize,
    element: impl Fn(usize, usize) -> [u8; N],
) -> Vec<[[u8; N]; 256]> {
    (0..channels).map(|c| std::array::from_fn(|pixel| element(c, pixel))).collect()
}

fn look_up<const N: usize>(
    tables: &[[[u8; N]; 256]],
    take: &[usize],
    pixels: &[u8],
    components: usize,
    layout: Layout,
) -> Vec<u8> {
    let count = pixels.len() / components;
    let mut out = vec![0; count * tables.len() * N];
    let elements = out.as_chunks_mut::<N>().0;
    match layout {
        Layout::Nchw => {
            let planes = elements.chunks_exact_mut(count.max(1));
            for ((plane, table), take) in planes.zip(tables).zip(take) {
                for (element, pixel) in plane.iter_mut().zip(pixels.chunks_exact(components)) {
                    *element = table[usize::from(pixel[*take])];
                }
            }
        }
        Layout::Nhwc => {
            let places = elements.chunks_exact_mut(tables.len());
            for (place, pixel) in places.zip(pixels.chunks_exact(components)) {
                for ((element, table), take) in place.iter_mut().zip(tables).zip(take) {
                    *element = table[usize::from(pixel[*take])];
                }
            }
        }
    }
    out
}

/// ITU-R 601 luma in 16-bit fixed point, as PIL computes it.
fn luma(pixels: &[u8], components: usize) -> Vec<u8> {
    let grey = |p: &[u8]| {
        let [r, g, b] = [u32::from(p[0]), u32::from(p[1]), u32::from(p[2])];
        ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
    };
    pixels.chunks_exact(components).map(grey).collect()
}

#[cfg(test)]
mod tests {
    use super::super::PerChannel;
    use super::*;

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    #[test]
    fn every_pixel_value_is_normalised_exactly() {
        let spec = ImageSpec {
            mean: PerChannel::Same(127.0),
            std: PerChannel::Each(vec![128.0, 64.0, 1.0]),
            ..ImageSpec::default()
        };
        let normaliser = Normaliser::new(&spec, DType::F32).unwrap();
        let pixels: Vec<u8> = (0..=255).flat_map(|p| [p; 3]).collect();
        let got = floats(&normaliser.run(pixels, 3));
        let expected = |std: f32| (0..256).map(move |p| (p as f32 - 127.0) / std);
        let all: Vec<f32> = [128.0, 64.0, 1.0].into_iter().flat_map(expected).collect();
        assert_eq!(got, all);
    }

    #[test]
    fn channels_come_in_the_declared_order() {
        let run = |colour, layout, components, pixels: &[u8]| {
            let spec = ImageSpec { colour, layout, ..ImageSpec::default() };
            Normaliser::new(&spec, DType::U8).unwrap().run(pixels.to_vec(), components)
        };
        let two = [1, 2, 3, 4, 5, 6];
        assert_eq!(run(Colour::Rgb, Layout::Nchw, 3, &two), [1, 4, 2, 5, 3, 6]);
        assert_eq!(run(Colour::Bgr, Layout::Nchw, 3, &two), [3, 6, 2, 5, 1, 4]);
        assert_eq!(run(Colour::Bgr, Layout::Nhwc, 3, &two), [3, 2, 1, 6, 5, 4]);
        assert_eq!(run(Colour::Rgb, Layout::Nhwc, 4, &[1, 2, 3, 99]), [1, 2, 3]);
        assert_eq!(run(Colour::Rgb, Layout::Nhwc, 2, &[7, 99]), [7, 7, 7]);
        assert_eq!(run(Colour::Gray, Layout::Nchw, 1, &[7, 8]), [7, 8]);
        assert_eq!(run(Colour::Gray, Layout::Nchw, 3, &[255, 0, 0, 0, 255, 0]), [76, 150]);
    }

    #[test]
    fn half_floats_are_rounded_to_the_nearest() {
        let spec = ImageSpec { scale: 1.0 / 255.0, colour: Colour::Gray, ..ImageSpec::default() };
        let run = |dtype| Normaliser::new(&spec, dtype).unwrap().run(vec![255, 51], 1);
        assert_eq!(run(DType::F16), [0x00, 0x3c, 0x66, 0x32], "1.0 and 0.19995");
        assert_eq!(run(DType::BF16), [0x80, 0x3f, 0x4d, 0x3e], "1.0 and 0.2002");
    }

    #[test]
    fn refuses_numbers_that_make_no_values() {
        let said = |spec: ImageSpec, dtype, what: &str| {
            let error = Normaliser::new(&spec, dtype).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let base = ImageSpec::default;
        said(ImageSpec { std: PerChannel::Same(0.0), ..base() }, DType::F32, "std");
        said(ImageSpec { mean: PerChannel::Each(vec![1.0; 2]), ..base() }, DType::F32, "mean");
        said(base(), DType::I64, "INT64");
    }
}
