//! Encoded bytes into 8-bit pixels.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageResult, Limits};

use super::error::VisionError;
use super::jpeg;
use super::orient::Turn;
use super::scaled::scaled;

/// What an image may cost. Both are checked before a pixel is decoded or memory for one is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Width × height; a pixel takes up to nine bytes while it is decoded.
    pub max_pixels: u64,
    /// Length of the encoded image.
    pub max_bytes: usize,
}

impl Default for ImageLimits {
    fn default() -> ImageLimits {
        ImageLimits { max_pixels: 50_000_000, max_bytes: 64 << 20 }
    }
}

/// Pixels as they are stored in the file, not yet upright.
pub(super) struct Picture {
    /// Stored width and height.
    pub size: (u32, u32),
    /// Pixels of the file that one of these stands for, along each side.
    pub by: u32,
    /// Bytes a pixel: grey, grey and alpha, RGB, or RGB and alpha.
    pub components: usize,
    /// Rows from the top, no padding.
    pub pixels: Vec<u8>,
    /// How to see it upright.
    pub turn: Turn,
}

impl Picture {
    /// Width and height of `pixels`.
    pub fn decoded(&self) -> (u32, u32) {
        shrunk(self.size, self.by)
    }
}

/// What is left of a width and height of which every `by` pixels become one.
pub(super) fn shrunk((width, height): (u32, u32), by: u32) -> (u32, u32) {
    (width.div_ceil(by), height.div_ceil(by))
}

/// Decodes the first frame. Alpha is kept and meant to be ignored; 16 bits become their upper 8.
///
/// `shrink` is told the upright width and height, and may ask for a half, a quarter or an eighth of them (2, 4,
/// 8), which it gets if it is a JPEG.
pub(super) fn decode(
    encoded: &[u8],
    limits: &ImageLimits,
    shrink: impl FnOnce((u32, u32)) -> u32,
) -> Result<Picture, VisionError> {
    if encoded.len() > limits.max_bytes {
        return Err(VisionError::TooLarge { got: encoded.len(), limit: limits.max_bytes });
    }
    let format = sniff(encoded)?;
    let refuse = |e: ImageError| VisionError::Decode { format, reason: reason(e) };
    let mut decoder = open(format, encoded, limits).map_err(refuse)?;
    let size @ (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(VisionError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    let damaged = |reason: &str| VisionError::Decode { format, reason: reason.to_owned() };
    if width == 0 || height == 0 {
        return Err(damaged("it has no pixels"));
    }
    if format == "JPEG" && !jpeg::is_complete(encoded) {
        return Err(damaged("it is cut short: there is no end-of-image marker"));
    }
    // Damaged metadata is no reason to refuse a photo that can be seen.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let turn = Turn::from(orientation);
    let by = if format == "JPEG" { shrink(turn.size(size)) } else { 1 };
    if by > 1
        && let Some((components, pixels)) = scaled(encoded, size, by)
    {
        return Ok(Picture { size, by, components, pixels, turn });
    }
    let (components, wide) = match decoder.color_type() {
        ColorType::L8 => (1, false),
        ColorType::La8 => (2, false),
        ColorType::Rgb8 => (3, false),
        ColorType::Rgba8 => (4, false),
        ColorType::L16 => (1, true),
        ColorType::La16 => (2, true),
        ColorType::Rgb16 => (3, true),
        ColorType::Rgba16 => (4, true),
        other => return Err(damaged(&format!("its pixels are {other:?}"))),
    };
    let length = usize::try_from(decoder.total_bytes()).map_err(|_| damaged("it is too large"))?;
    let mut pixels = vec![0; length];
    decoder.read_image(&mut pixels).map_err(refuse)?;
    if wide {
        keep_upper_bytes(&mut pixels);
    }
    Ok(Picture { size, by: 1, components, pixels, turn })
}

/// The format's name, by the first bytes.
fn sniff(encoded: &[u8]) -> Result<&'static str, VisionError> {
    let is = |at: usize, magic: &[u8]| encoded.get(at..).is_some_and(|e| e.starts_with(magic));
    if is(0, b"\xff\xd8\xff") {
        Ok("JPEG")
    } else if is(0, b"\x89PNG\r\n\x1a\n") {
        Ok("PNG")
    } else if is(0, b"RIFF") && is(8, b"WEBP") {
        Ok("WebP")
    } else if is(0, b"GIF87a") || is(0, b"GIF89a") {
        Ok("GIF")
    } else if encoded.is_empty() {
        Err(VisionError::UnknownFormat("no bytes".into()))
    } else {
        let start = encoded[..encoded.len().min(8)].escape_ascii();
        Err(VisionError::UnknownFormat(format!("{} bytes that start `{start}`", encoded.len())))
    }
}

/// Reads the header.
fn open<'a>(
    format: &str,
    encoded: &'a [u8],
    limits: &ImageLimits,
) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    let from = Cursor::new(encoded);
    // Bounds what a decoder takes besides the pixels, such as a PNG's inflated profiles.
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(16 << 20));
    Ok(match format {
        "JPEG" => Box::new(JpegDecoder::new(from)?),
        "PNG" => Box::new(PngDecoder::with_limits(from, memory)?),
        "WebP" => {
            let mut decoder = WebPDecoder::new(from)?;
            decoder.set_limits(memory)?;
            Box::new(decoder)
        }
        _ => {
            let mut decoder = GifDecoder::new(from)?;
            decoder.set_limits(memory)?;
            Box::new(decoder)
        }
    })
}

/// The decoder's own words, without the image crate's repetition of the format.
fn reason(error: ImageError) -> String {
    match &error {
        ImageError::Decoding(e) => std::error::Error::source(e).map(ToString::to_string),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Some("it is cut short".to_owned())
        }
        _ => None,
    }
    .unwrap_or_else(|| error.to_string())
}

/// Native-endian 16-bit samples become their upper 8 bits, in place.
fn keep_upper_bytes(samples: &mut Vec<u8>) {
    let half = samples.len() / 2;
    for i in 0..half {
        samples[i] = (u16::from_ne_bytes([samples[2 * i], samples[2 * i + 1]]) >> 8) as u8;
    }
    samples.truncate(half);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/images/");
        std::fs::read(format!("{dir}{name}")).unwrap()
    }

    fn first_pixel(name: &str) -> Vec<u8> {
        let picture = decode(&fixture(name), &ImageLimits::default(), |_| 1).unwrap();
        picture.pixels[..picture.components].to_vec()
    }

    const ALL: [&str; 13] = [
        "animated.gif",
        "animated.webp",
        "cmyk.jpg",
        "grey.jpg",
        "grey_alpha.png",
        "grey16.png",
        "interlaced.png",
        "orientation6.jpg",
        "palette.png",
        "progressive.jpg",
        "rgb16.png",
        "rgba.webp",
        "ycck.jpg",
    ];

    #[test]
    fn every_kind_of_file_is_decoded_to_the_colour_it_was_made_of() {
        // The README beside the fixtures gives the colours; JPEG and lossy WebP may be off a bit.
        for (name, expected) in [
            ("animated.gif", &[200, 40, 60, 255][..]),
            ("cmyk.jpg", &[200, 40, 60]),
            ("ycck.jpg", &[200, 40, 60]),
            ("grey.jpg", &[90]),
            ("grey_alpha.png", &[90, 128]),
            ("grey16.png", &[0x12]),
            ("rgb16.png", &[0x12, 0x56, 0xff]),
            ("palette.png", &[200, 40, 60]),
            ("interlaced.png", &[200, 40, 60]),
            ("progressive.jpg", &[200, 40, 60]),
            ("rgba.webp", &[200, 40, 60, 128]),
        ] {
            let pixel = first_pixel(name);
            assert_eq!(pixel.len(), expected.len(), "{name}");
            let off = pixel.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
            let allowed = if name.ends_with("jpg") { 4 } else { 0 };
            assert!(off.unwrap() <= allowed, "{name}: {pixel:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_cut_file_is_an_error_wherever_it_is_cut() {
        for name in ALL {
            let whole = fixture(name);
            let tail = match name {
                // The trailer of these holds no pixel: the first frame is whole without it.
                "animated.gif" | "animated.webp" => whole.len() / 2,
                n if n.ends_with("png") => 16,
                // Chunks are padded to an even length.
                "rgba.webp" => 1,
                _ => 0,
            };
            for cut in 0..whole.len() - tail {
                for by in [1, 2] {
                    let result = decode(&whole[..cut], &ImageLimits::default(), |_| by);
                    assert!(result.is_err_and(|e| e.is_callers_fault()), "{name} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_jpeg_has_the_colours_of_the_whole() {
        for name in ALL {
            let whole = decode(&fixture(name), &ImageLimits::default(), |_| 1).unwrap();
            for by in [2, 4, 8] {
                let upright = whole.turn.size(whole.size);
                let told = |size| {
                    assert_eq!(size, upright, "{name}");
                    by
                };
                let part = decode(&fixture(name), &ImageLimits::default(), told).unwrap();
                assert_eq!((part.components, part.turn), (whole.components, whole.turn), "{name}");
                // What has another format, or four inks, is decoded as a whole.
                let scales = name.ends_with("jpg") && name != "cmyk.jpg" && name != "ycck.jpg";
                let by = if scales { by } else { 1 };
                let (w, h) = whole.size;
                assert_eq!((part.size, part.by), ((w, h), by), "{name}");
                assert_eq!(part.decoded(), (w.div_ceil(by), h.div_ceil(by)), "{name} by {by}");
                let mean = |p: &Picture| {
                    let sum: u64 = p.pixels.iter().map(|v| u64::from(*v)).sum();
                    sum as f64 / p.pixels.len() as f64
                };
                let off = (mean(&part) - mean(&whole)).abs();
                assert!(off < 3.0, "{name} by {by}: {off}");
            }
        }
    }

    #[test]
    fn limits_are_checked_on_the_header_alone() {
        // A PNG that announces 60000 × 60000 pixels and has none.
        let mut bomb =
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
        bomb.extend([0x0f, 0xb0, 0xe2, 0x15]);
        bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        let limits = ImageLimits::default();
        let got = decode(&bomb, &limits, |_| 8).err().unwrap();
        let limit = limits.max_pixels;
        assert_eq!(got, VisionError::TooManyPixels { width: 60000, height: 60000, limit });
        let small = ImageLimits { max_bytes: 10, ..limits };
        let got = decode(&bomb, &small, |_| 8).err().unwrap();
        assert_eq!(got, VisionError::TooLarge { got: bomb.len(), limit: 10 });
    }

    #[test]
    fn what_is_no_image_is_named() {
        let said =
            |bytes: &[u8]| decode(bytes, &ImageLimits::default(), |_| 1).err().unwrap().to_string();
        assert_eq!(said(b""), "expected a JPEG, PNG, WebP or GIF image, got no bytes");
        assert_eq!(
            said(b"%PDF-1.7 x"),
            "expected a JPEG, PNG, WebP or GIF image, got 10 bytes that start `%PDF-1.7`"
        );
    }
}
