//! Whether all of a JPEG is there.
//!
//! The decoder fills what is missing of a cut JPEG with grey and says nothing, and a model would
//! classify the grey. So the markers are walked first; the entropy-coded data is only skimmed.

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
