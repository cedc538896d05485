//! A half, a quarter or an eighth of each side of a JPEG.
//!
//! By libjpeg-turbo's code as mozjpeg has it, in C: of 8 × 8 coefficients only the low frequencies are transformed, so
//! that most of the work is not done, and what is left, the Huffman codes, is done faster than by any decoder in Rust that
//! scales at all (docs/performance.md). What it doesn't take, or complains of, is left to the decoder of whole pictures.

use std::ffi::c_int;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr, jpeg_std_error};

use super::decode::shrunk;

/// Components a pixel, and the pixels, of which each stands for `by` (2, 4 or 8) along each side.
///
/// `None` for what is neither grey nor of three colours, for what is damaged, and for what is not of the width and height
/// `whole`, on which all limits were checked.
pub(super) fn scaled(encoded: &[u8], whole: (u32, u32), by: u32) -> Option<(usize, Vec<u8>)> {
    // How libjpeg's errors leave it.
    catch_unwind(AssertUnwindSafe(|| decode(encoded, whole, by))).ok()?
}

fn decode(encoded: &[u8], (width, height): (u32, u32), by: u32) -> Option<(usize, Vec<u8>)> {
    let numerator = match by {
        2 => 4,
        4 => 2,
        8 => 1,
        _ => return None,
    };
    let mut decoder = Decompress::with_err(strict()).from_mem(encoded).ok()?;
    if decoder.size() != (width as usize, height as usize) {
        return None;
    }
    let (components, colours) = match decoder.color_space() {
        grey @ ColorSpace::JCS_GRAYSCALE => (1, grey),
        ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB => (3, ColorSpace::JCS_RGB),
        _ => return None,
    };
    decoder.scale(numerator);
    let mut started = decoder.to_colorspace(colours).ok()?;
    let (columns, rows) = shrunk((width, height), by);
    let (columns, rows) = (columns as usize, rows as usize);
    if (started.width(), started.height()) != (columns, rows) {
        return None;
    }
    let pixels = started.read_scanlines::<u8>().ok()?;
    started.finish().ok()?;
    (pixels.len() == columns * rows * components).then_some((components, pixels))
}

/// Gives up at the first complaint. libjpeg by itself goes on, with grey where data are damaged.
#[allow(unsafe_code)]
fn strict() -> jpeg_error_mgr {
    // SAFETY: it has numbers, pointers and functions that may be missing: zero is a value of each.
    let mut errors: jpeg_error_mgr = unsafe { mem::zeroed() };
    // SAFETY: writes into what it is given, and keeps nothing of it.
    unsafe { jpeg_std_error(&mut errors) };
    errors.error_exit = Some(give_up);
    errors.emit_message = Some(complain);
    errors
}

/// Unwinds through libjpeg, which is compiled for that, without the word of a panic.
extern "C-unwind" fn give_up(_: &mut jpeg_common_struct) {
    resume_unwind(Box::new(()));
}

extern "C-unwind" fn complain(decoder: &mut jpeg_common_struct, level: c_int) {
    // Below zero is a warning; the rest is what is worth a trace.
    if level < 0 {
        give_up(decoder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHELSEA: (u32, u32) = (451, 300);

    fn chelsea() -> Vec<u8> {
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/photos/chelsea.jpg")).unwrap()
    }

    #[test]
    fn sides_are_divided_and_rounded_up() {
        for (by, sides) in [(2, 226 * 150), (4, 113 * 75), (8, 57 * 38)] {
            let (components, pixels) = scaled(&chelsea(), CHELSEA, by).unwrap();
            assert_eq!((components, pixels.len()), (3, 3 * sides), "by {by}");
        }
    }

    #[test]
    fn what_is_damaged_is_left_to_the_other_decoder() {
        let whole = chelsea();
        // Complete by its markers, with a half of its codes.
        let mut short = whole[..whole.len() / 2].to_vec();
        short.extend(b"\xff\xd9");
        // Codes that are none.
        let mut garbled = whole.clone();
        let middle = whole.len() / 2;
        garbled[middle..middle + 64].fill(0x7f);
        for (what, damaged) in [("short", short), ("garbled", garbled), ("no JPEG", vec![0; 64])] {
            assert!(scaled(&damaged, CHELSEA, 4).is_none(), "{what}");
        }
    }

    #[test]
    fn another_size_than_was_checked_is_not_decoded() {
        assert!(scaled(&chelsea(), (300, 451), 4).is_none());
    }
}
