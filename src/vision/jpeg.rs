//! What is special of JPEGs: whether all is there, and less of it than all.
//!
//! The decoder fills what is missing of a cut JPEG with grey and says nothing, and a model would
//! classify the grey. So the markers are walked first; the entropy-coded data is only skimmed.

use jpeg_decoder::PixelFormat;

use super::decode::shrunk;

/// Whether the file reaches its end-of-image marker. Segments are skipped whole, so a thumbnail's
/// marker does not count.
pub(super) fn is_complete(data: &[u8]) -> bool {
    walk(data).is_some()
}

/// `None` once the data ends too early.
fn walk(data: &[u8]) -> Option<()> {
    let mut at = 2;
    loop {
        at = next_marker(data, at)?;
        match *data.get(at)? {
            0xd9 => return Some(()),
            // Restarts and TEM stand alone. After SOS's segment comes entropy-coded data, whose
            // stuffed zeros and restarts `next_marker` passes over as it does over any rubbish.
            0x01 | 0xd0..=0xd8 => at += 1,
            _ => {
                let length = u16::from_be_bytes(*data.get(at + 1..)?.first_chunk()?);
                at += 1 + usize::from(length.max(2));
            }
        }
    }
}

/// Where the next marker's second byte is: neither a stuffed zero nor a filler.
fn next_marker(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += data.get(at..)?.iter().position(|b| *b == 0xff)?;
        while *data.get(at)? == 0xff {
            at += 1;
        }
        if data[at] != 0 {
            return Some(at);
        }
    }
}

/// Components a pixel, and the pixels of a half, a quarter or an eighth of each side. Of 8 × 8
/// coefficients only the low frequencies are transformed, so that most of the work is not done; the other
/// decoder, which is faster at all of it, can't. `None` for what this one doesn't take: the other one tells
/// why, if there is something wrong with it. So it is with one that is not of the width and height `whole`, on
/// which all limits were checked.
pub(super) fn scaled(encoded: &[u8], whole: (u32, u32), by: u32) -> Option<(usize, Vec<u8>)> {
    let mut decoder = jpeg_decoder::Decoder::new(encoded);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    if (u32::from(info.width), u32::from(info.height)) != whole {
        return None;
    }
    let size = shrunk(whole, by);
    let (width, height) = (u16::try_from(size.0).ok()?, u16::try_from(size.1).ok()?);
    let components = match info.pixel_format {
        PixelFormat::L8 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    let got = decoder.scale(width, height).ok()?;
    let pixels = decoder.decode().ok()?;
    let fits =
        got == (width, height) && pixels.len() == size.0 as usize * size.1 as usize * components;
    fits.then_some((components, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnails_end_is_not_the_photos() {
        let whole = b"\xff\xd8\xff\xe1\0\x04\xff\xd9\xff\xda\0\x02ab\xff\0c\xff\xd0d\xff\xff\xd9";
        assert!(is_complete(whole));
        for cut in 0..whole.len() {
            assert!(!is_complete(&whole[..cut]), "{cut}");
        }
    }
}
