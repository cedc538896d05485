//! What comes before compute: images that become tensors, on threads of their own and on the same CPUs. Pure.

use std::time::{Duration, Instant};

use super::cost::gain;
use super::demand::Rate;
use super::load::MEMORY;

/// The images of one queue.
#[derive(Debug)]
pub(super) struct Decoding {
    /// Images that wait for a decoder, or are with one.
    waiting: usize,
    decoded: u64,
    /// Seconds of an image: as a clock sees it, which counts who else uses the CPU, and of a CPU.
    wall: f64,
    cpu: f64,
    /// Images a row, lately: 0 where only tensors come.
    images: f64,
    asked: u64,
    /// Seconds of CPU.
    spent: Rate,
}

impl Default for Decoding {
    fn default() -> Decoding {
        let spent = Rate::new(MEMORY);
        Decoding { waiting: 0, decoded: 0, wall: 0.0, cpu: 0.0, images: 0.0, asked: 0, spent }
    }
}

impl Decoding {
    /// A request came with so many images for its rows.
    pub fn asked(&mut self, images: usize, rows: usize) {
        self.asked += 1;
        self.images += gain(self.asked) * (images as f64 / rows.max(1) as f64 - self.images);
    }

    /// Images wait.
    pub fn wait(&mut self, images: usize) {
        self.waiting += images;
    }

    /// Images wait no longer.
    pub fn leave(&mut self, images: usize) {
        self.waiting = self.waiting.saturating_sub(images);
    }

    /// One was decoded, or could not be.
    pub fn took(&mut self, wall: Duration, cpu: Duration, now: Instant) {
        self.decoded += 1;
        let gain = gain(self.decoded);
        self.wall += gain * (wall.as_secs_f64() - self.wall);
        self.cpu += gain * (cpu.as_secs_f64() - self.cpu);
        self.spent.add(cpu.as_secs_f64(), now);
    }

    /// Whether any image waits.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// Images of so many rows, as they come lately.
    pub fn images_of(&self, rows: usize) -> f64 {
        rows as f64 * self.images
    }

    /// Seconds that images take a decoder.
    pub fn wall(&self, images: f64) -> f64 {
        images * self.wall
    }

    /// Seconds of CPU that they take.
    pub fn cpu(&self, images: f64) -> f64 {
        images * self.cpu
    }

    /// Seconds until all that waits is decoded, if one decoder did it.
    pub fn backlog(&self) -> f64 {
        self.wall(self.waiting as f64)
    }

    /// Seconds of CPU that wait.
    pub fn cpu_waiting(&self) -> f64 {
        self.cpu(self.waiting as f64)
    }

    /// Seconds of CPU a second that were spent lately.
    pub fn cpu_spent(&self, now: Instant) -> f64 {
        self.spent.per_second(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_what_an_image_takes_and_how_many_rows_are_images() {
        let (t0, ms) = (Instant::now(), Duration::from_millis);
        let mut decoding = Decoding::default();
        assert_eq!(
            (decoding.backlog(), decoding.wall(3.0), decoding.images_of(3)),
            (0.0, 0.0, 0.0)
        );
        decoding.wait(4);
        for i in 0..100 {
            decoding.asked(usize::from(i % 2 == 0), 1);
            decoding.took(ms(20), ms(10), t0 + ms(i * 20));
        }
        assert!((decoding.backlog() - 0.08).abs() < 1e-9, "{decoding:?}");
        assert!((decoding.cpu_waiting() - 0.04).abs() < 1e-9);
        let of_rows = decoding.wall(decoding.images_of(10));
        assert!((of_rows - 0.1).abs() < 0.01, "{of_rows}");
        assert!((decoding.cpu(3.0) - 0.03).abs() < 1e-9);
        assert!((decoding.cpu_spent(t0 + ms(2000)) - 0.5).abs() < 0.02);
        decoding.leave(3);
        assert!(!decoding.is_idle());
        decoding.leave(3);
        assert!(decoding.is_idle());
    }
}
