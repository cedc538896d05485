//! Pixels of any size into pixels of the model's size, upright.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::decode::Picture;
use super::error::VisionError;
use super::input_spec::Filter;
use super::placement::Placement;

/// Resizes the part of `picture` that `placement` uses into a canvas of `target` width and height,
/// `pad` around it. The pixels keep their components.
///
/// The stored picture is resized as it lies, and only the small result is turned upright.
pub(super) fn resize(
    picture: &Picture,
    placement: &Placement,
    filter: Filter,
    target: (u32, u32),
    pad: u8,
) -> Result<Vec<u8>, VisionError> {
    let (turn, components) = (picture.turn, picture.components);
    let (left, top, width, height) = turn.stored_box(placement.used, picture.size);
    let (.., lie_width, lie_height) = placement.lies;
    let small = turn.size((lie_width, lie_height));
    let kind = match components {
        1 => PixelType::U8,
        2 => PixelType::U8x2,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    // None of these can happen: the sizes are above 0 and the box lies within the picture.
    let broken = |e: &dyn std::error::Error| VisionError::Spec(format!("can't resize: {e}"));
    let (columns, rows) = picture.decoded();
    let from = ImageRef::new(columns, rows, &picture.pixels, kind).map_err(|e| broken(&e))?;
    let options = ResizeOptions::new()
        .resize_alg(algorithm(filter))
        // Alpha is ignored, so it must not weigh in either.
        .use_alpha(false);
    let mut resizer = Resizer::new();
    let mut to = Image::new(small.0, small.1, kind);
    if picture.by > 1 {
        // The box need not begin where a pixel does. A fourth of the model's pixel would be seen.
        let part = |at: u32| f64::from(at) / f64::from(picture.by);
        let options = options.crop(part(left), part(top), part(width), part(height));
        resizer.resize(&from, &mut to, &options).map_err(|e| broken(&e))?;
        return Ok(place(picture, to.into_vec(), placement, target, pad));
    }
    // A view, not a copy; unlike the resizer's own crop box, it lets nothing outside weigh in.
    let from = CroppedImage::new(&from, left, top, width, height).map_err(|e| broken(&e))?;
    if width == small.0 || height == small.1 {
        resizer.resize(&from, &mut to, &options).map_err(|e| broken(&e))?;
    } else {
        // The order matters where a bicubic overshoots: PIL, which models are trained with, goes
        // along the rows of the upright picture first, while the resizer alone would go last.
        let between = if turn.swaps() { (width, small.1) } else { (small.0, height) };
        let mut half = Image::new(between.0, between.1, kind);
        resizer.resize(&from, &mut half, &options).map_err(|e| broken(&e))?;
        resizer.resize(&half, &mut to, &options).map_err(|e| broken(&e))?;
    }
    Ok(place(picture, to.into_vec(), placement, target, pad))
}

/// Turns what was resized upright, onto a canvas of `target` width and height.
fn place(
    picture: &Picture,
    resized: Vec<u8>,
    placement: &Placement,
    target: (u32, u32),
    pad: u8,
) -> Vec<u8> {
    let (turn, components) = (picture.turn, picture.components);
    let (x, y, lie_width, lie_height) = placement.lies;
    let small = turn.size((lie_width, lie_height));
    if turn.is_none() && small == target {
        return resized;
    }
    let mut canvas = vec![pad; target.0 as usize * target.1 as usize * components];
    let rows = canvas.chunks_exact_mut(target.0 as usize * components);
    for (row, to) in rows.skip(y as usize).take(lie_height as usize).enumerate() {
        let pixels = to.chunks_exact_mut(components).skip(x as usize).take(lie_width as usize);
        for (column, pixel) in pixels.enumerate() {
            let (sx, sy) = turn.stored((column as u32, row as u32), small);
            let at = (sy as usize * small.0 as usize + sx as usize) * components;
            pixel.copy_from_slice(&resized[at..at + components]);
        }
    }
    canvas
}

fn algorithm(filter: Filter) -> ResizeAlg {
    match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
    }
}

#[cfg(test)]
mod tests {
    use super::super::input_spec::ResizeMode;
    use super::*;

    fn grey(size: (u32, u32), pixels: &[u8]) -> Picture {
        let (pixels, turn) = (pixels.to_vec(), Default::default());
        Picture { size, by: 1, components: 1, pixels, turn }
    }

    #[test]
    fn a_letterbox_leaves_bars_of_the_pad() {
        let picture = grey((4, 2), &[9; 8]);
        let placement = Placement::new(ResizeMode::Letterbox, 1.0, (4, 2), (4, 4));
        let canvas = resize(&picture, &placement, Filter::Bilinear, (4, 4), 114).unwrap();
        let bar = [114; 4];
        assert_eq!(canvas, [bar, [9; 4], [9; 4], bar].concat());
    }

    #[test]
    fn nothing_outside_the_crop_bleeds_in() {
        let mut pixels = [255; 64];
        (2..6).for_each(|y| (2..6).for_each(|x| pixels[y * 8 + x] = 10));
        let placement = Placement::new(ResizeMode::Crop, 0.5, (8, 8), (3, 3));
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3] {
            let out = resize(&grey((8, 8), &pixels), &placement, filter, (3, 3), 0).unwrap();
            assert_eq!(out, [10; 9], "{filter:?}");
        }
    }

    #[test]
    fn shrinking_averages_instead_of_skipping() {
        let pixels: Vec<u8> = (0..64).map(|i| if i % 2 == 0 { 0 } else { 200 }).collect();
        let placement = Placement::new(ResizeMode::Stretch, 1.0, (64, 1), (2, 1));
        let out = resize(&grey((64, 1), &pixels), &placement, Filter::Bilinear, (2, 1), 0);
        assert!(out.unwrap().iter().all(|p| p.abs_diff(100) <= 2));
    }

    #[test]
    fn a_turned_photo_is_resized_as_the_upright_one() {
        // Black and white stripes and spots, so that a bicubic overshoots in both directions.
        let size = (30, 20);
        let seen = |x: u32, y: u32| if x % 7 < 2 || (x * y) % 11 == 3 { 255 } else { 0 };
        let upright: Vec<u8> = (0..600).map(|i| seen(i % 30, i / 30)).collect();
        let target = (9, 7);
        let run = |picture: &Picture| {
            let placement = Placement::new(ResizeMode::Crop, 0.9, size, target);
            resize(picture, &placement, Filter::Bicubic, target, 0).unwrap()
        };
        let expected = run(&grey(size, &upright));
        // Transposed: stored columns are the rows that are seen.
        let stored = (0..600).map(|i| seen(i / 20, i % 20)).collect::<Vec<_>>();
        let turn = image::metadata::Orientation::Rotate90FlipH.into();
        let turned = Picture { turn, ..grey((20, 30), &stored) };
        assert_eq!(run(&turned), expected);
    }
}
