//! Where a photo lies in the model's input.

use super::input_spec::ResizeMode;

/// Maps the model's pixels to the photo's. Both are upright, with the origin at the top left
/// corner of the top left pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Width and height of the upright photo, in pixels.
    pub source: (u32, u32),
    /// The part of the photo that is used: left, top, width, height.
    pub(super) used: (u32, u32, u32, u32),
    /// Where in the model's input it lies: left, top, width, height.
    pub(super) lies: (u32, u32, u32, u32),
}

impl Placement {
    /// Fits a photo of `source` width and height into `target` width and height. All are above 0.
    pub(super) fn new(
        mode: ResizeMode,
        crop_fraction: f32,
        source: (u32, u32),
        target: (u32, u32),
    ) -> Placement {
        let (sw, sh) = (f64::from(source.0), f64::from(source.1));
        let (tw, th) = (f64::from(target.0), f64::from(target.1));
        let whole = (0, 0, source.0, source.1);
        let full = (0, 0, target.0, target.1);
        match mode {
            ResizeMode::Stretch => Placement { source, used: whole, lies: full },
            ResizeMode::Crop => {
                let fit = (sw / tw).min(sh / th) * f64::from(crop_fraction);
                // Rounding error must not cost a pixel: int(256 × 0.875) is 224.
                let side = |t: f64, s: u32| ((t * fit + 1e-6) as u32).clamp(1, s);
                let (width, height) = (side(tw, source.0), side(th, source.1));
                let used = ((source.0 - width) / 2, (source.1 - height) / 2, width, height);
                Placement { source, used, lies: full }
            }
            ResizeMode::Letterbox => {
                let fit = (tw / sw).min(th / sh);
                let side = |s: f64, t: u32| ((s * fit).round() as u32).clamp(1, t);
                let (width, height) = (side(sw, target.0), side(sh, target.1));
                let lies = ((target.0 - width) / 2, (target.1 - height) / 2, width, height);
                Placement { source, used: whole, lies }
            }
        }
    }

    /// How many times larger each side of what is used is than where it lies, at the least.
    pub(super) fn shrinks(&self) -> f64 {
        let of = |used: u32, lies: u32| f64::from(used) / f64::from(lies);
        of(self.used.2, self.lies.2).min(of(self.used.3, self.lies.3))
    }

    /// The photo's coordinates, in pixels and within the photo, of the model's `x`, `y`.
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        let back = |v: f32, (at, len): (u32, u32), (from, used): (u32, u32), max: u32| {
            let share = (f64::from(v) - f64::from(at)) / f64::from(len);
            let v = share * f64::from(used) + f64::from(from);
            v.clamp(0.0, f64::from(max)) as f32
        };
        let (used, lies) = (self.used, self.lies);
        (
            back(x, (lies.0, lies.2), (used.0, used.2), self.source.0),
            back(y, (lies.1, lies.3), (used.1, used.3), self.source.1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_takes_the_pixels_the_reference_takes() {
        // int(min(w, h) × 224 / 256), centred, as EfficientNet-Lite's reference does.
        for source in [(640, 427), (427, 640), (451, 300), (256, 256), (1, 1), (3, 1000)] {
            let p = Placement::new(ResizeMode::Crop, 0.875, source, (224, 224));
            let side = (source.0.min(source.1) * 224 / 256).max(1);
            let used = ((source.0 - side) / 2, (source.1 - side) / 2, side, side);
            assert_eq!((p.used, p.lies), (used, (0, 0, 224, 224)), "{source:?}");
        }
    }

    #[test]
    fn a_crop_has_the_aspect_of_the_model() {
        let p = Placement::new(ResizeMode::Crop, 1.0, (100, 100), (20, 10));
        assert_eq!(p.used, (0, 25, 100, 50));
    }

    #[test]
    fn a_letterbox_maps_its_corners_back_to_the_photos() {
        let p = Placement::new(ResizeMode::Letterbox, 1.0, (640, 427), (416, 416));
        assert_eq!(p.lies, (0, 69, 416, 278));
        assert_eq!(p.to_source(0.0, 69.0), (0.0, 0.0));
        assert_eq!(p.to_source(416.0, 347.0), (640.0, 427.0));
        assert_eq!(p.to_source(208.0, 208.0), (320.0, 213.5));
        assert_eq!(p.to_source(-9.0, 10.0), (0.0, 0.0), "the bar is no part of the photo");
    }

    #[test]
    fn a_crop_maps_back_to_where_it_was_cut() {
        let p = Placement::new(ResizeMode::Crop, 0.5, (400, 200), (50, 50));
        assert_eq!((p.used, p.shrinks()), ((150, 50, 100, 100), 2.0));
        assert_eq!(p.to_source(25.0, 0.0), (200.0, 50.0));
    }
}
