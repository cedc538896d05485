//! EXIF orientation, as one swap and two flips.

use image::metadata::Orientation;

/// How the stored pixels are to be turned to be seen upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Rows of the upright picture are columns of the stored one.
    swap: bool,
    /// The stored picture is read from right to left.
    flip_x: bool,
    /// The stored picture is read from bottom to top.
    flip_y: bool,
}

impl From<Orientation> for Turn {
    fn from(orientation: Orientation) -> Turn {
        let (swap, flip_x, flip_y) = match orientation {
            Orientation::NoTransforms => (false, false, false),
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, false, true),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, true, false),
        };
        Turn { swap, flip_x, flip_y }
    }
}

impl Turn {
    /// Whether nothing is to be done.
    pub(super) fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// Whether rows of the upright picture are columns of the stored one.
    pub(super) fn swaps(self) -> bool {
        self.swap
    }

    /// Width and height of the stored picture from the upright one's, and the other way round.
    pub(super) fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.swap { (height, width) } else { (width, height) }
    }

    /// The stored pixel that is seen at `x`, `y` of the upright picture; `stored` is the stored
    /// picture's width and height.
    pub(super) fn stored(self, (x, y): (u32, u32), stored: (u32, u32)) -> (u32, u32) {
        let (x, y) = self.size((x, y));
        (
            if self.flip_x { stored.0 - 1 - x } else { x },
            if self.flip_y { stored.1 - 1 - y } else { y },
        )
    }

    /// The stored box `(left, top, width, height)` that is seen as `upright`.
    pub(super) fn stored_box(
        self,
        (x, y, width, height): (u32, u32, u32, u32),
        stored: (u32, u32),
    ) -> (u32, u32, u32, u32) {
        let ((x, y), (width, height)) = (self.size((x, y)), self.size((width, height)));
        (
            if self.flip_x { stored.0 - width - x } else { x },
            if self.flip_y { stored.1 - height - y } else { y },
            width,
            height,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_turns_as_its_corner_pixels_do() {
        let stored = (7, 5);
        for exif in 1..=8 {
            let turn = Turn::from(Orientation::from_exif(exif).unwrap());
            let (w, h) = turn.size(stored);
            let (x, y, bw, bh) = (1, 2, w - 2, h - 4);
            let a = turn.stored((x, y), stored);
            let b = turn.stored((x + bw - 1, y + bh - 1), stored);
            let corners =
                (a.0.min(b.0), a.1.min(b.1), a.0.abs_diff(b.0) + 1, a.1.abs_diff(b.1) + 1);
            assert_eq!(turn.stored_box((x, y, bw, bh), stored), corners, "{exif}");
        }
    }
}
