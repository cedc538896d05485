//! A copy of a request for a version that is tried, computed step by step while the answers leave room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::classes::{top_classes, top_k_classes};
use crate::batcher::{Beside, Headroom, run_beside};
use crate::input::InputValue;
use crate::router::ServedVersion;
use crate::telemetry::delivery::Agreement;
use crate::tensor::Tensor;
use crate::vision::ImageLimits;

/// How long a copy may take with its pauses. Then it is shed, so that what waits behind it is not stale.
const PATIENCE: Duration = Duration::from_secs(2);

/// Best classes of a row that are compared beside the very best.
const TOP: usize = 5;

/// Numbers that differ by more, relative to the answer's size, don't agree where there are no classes.
const CLOSE: f64 = 1e-3;

/// A request, and the answer it got.
pub struct Copy {
    /// Who gets the copy.
    pub version: Arc<ServedVersion>,
    /// Who answered.
    pub by: Arc<ServedVersion>,
    /// By input name.
    pub inputs: Vec<(String, InputValue)>,
    /// In the signature's order.
    pub outputs: Vec<Tensor>,
}

impl Copy {
    /// What it holds.
    pub fn bytes(&self) -> usize {
        let outputs = self.outputs.iter().map(|t| t.data().len());
        self.inputs.iter().map(|(_, value)| value.bytes()).chain(outputs).sum()
    }

    /// Takes note that nobody will compute it.
    pub fn shed(&self) {
        self.version.queue.target().metrics.arm.shadow_shed();
    }

    /// Computes it, and takes note of how it compares.
    pub fn run(&self, limits: &ImageLimits, headroom: &Headroom) {
        let arm = &self.version.queue.target().metrics.arm;
        match self.compute(limits, headroom) {
            Ok(Beside::Done(reply)) => {
                arm.shadowed(self.compare(&reply.outputs), reply.compute);
            }
            Ok(Beside::Shed) => self.shed(),
            Ok(Beside::Failed(error)) => self.failed(&error.to_string()),
            Err(error) => self.failed(&error),
        }
    }

    /// Takes note that it can't be computed.
    pub fn failed(&self, error: &str) {
        let info = &self.version.info;
        tracing::debug!(model = %info.model, version = info.version, error, "a shadow failed");
        self.version.queue.target().metrics.arm.shadow_failed();
    }

    fn compute(&self, limits: &ImageLimits, headroom: &Headroom) -> Result<Beside, String> {
        let version = &self.version;
        let until = Instant::now() + PATIENCE;
        let mut named = Vec::with_capacity(self.inputs.len());
        for (name, value) in &self.inputs {
            let tensor = match value {
                InputValue::Tensor(tensor) => tensor.clone(),
                InputValue::Images(images) => {
                    let (_, pipeline) =
                        version.image.as_ref().ok_or("the model takes no images")?;
                    let mut rows = Vec::with_capacity(images.len());
                    for image in images {
                        if !headroom.wait(until) {
                            return Ok(Beside::Shed);
                        }
                        rows.push(pipeline.run(image, limits).map_err(|e| e.to_string())?.0);
                    }
                    Tensor::concat_rows(&rows).ok_or("there is no image")?
                }
            };
            named.push((name.clone(), tensor));
        }
        let inputs = version.bind(named).map_err(|e| e.to_string())?;
        let max_batch = version.queue.limits().max_batch;
        Ok(run_beside(version.queue.target(), max_batch, &inputs, headroom, until))
    }

    fn compare(&self, outputs: &[Tensor]) -> Agreement {
        let distance =
            self.outputs.iter().zip(outputs).map(|(given, got)| distance(given, got)).fold(
                if self.outputs.len() == outputs.len() { 0.0 } else { f64::INFINITY },
                f64::max,
            );
        let classes = top_classes(&self.by, &self.outputs).zip(top_classes(&self.version, outputs));
        let same = classes.map_or(distance <= CLOSE, |(given, got)| given == got);
        let top = |version, outputs| top_k_classes(version, outputs, TOP);
        let best = top(&self.by, &self.outputs).zip(top(&self.version, outputs));
        let overlap = best.and_then(|(given, got)| overlap(&given, &got));
        Agreement { same, distance: distance.min(1e6), overlap }
    }
}

/// The mean share of the given classes of a row that are among those got.
fn overlap(given: &[Vec<u32>], got: &[Vec<u32>]) -> Option<f64> {
    if given.is_empty() || given.len() != got.len() {
        return None;
    }
    let share = |(given, got): (&Vec<u32>, &Vec<u32>)| {
        let common = given.iter().filter(|class| got.contains(class)).count();
        common as f64 / given.len().max(1) as f64
    };
    Some(given.iter().zip(got).map(share).sum::<f64>() / given.len() as f64)
}

/// The greatest difference between two tensors, relative to the size of the first one's numbers.
fn distance(given: &Tensor, got: &Tensor) -> f64 {
    if given.shape() != got.shape() {
        return f64::INFINITY;
    }
    let (Some(a), Some(b)) = (given.to_f32(), got.to_f32()) else {
        return if given == got { 0.0 } else { f64::INFINITY };
    };
    let size = a.iter().fold(0.0f32, |m, x| m.max(x.abs())).max(f32::MIN_POSITIVE);
    let greatest = a.iter().zip(&b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs()));
    f64::from(greatest / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_what_both_have_of_the_best() {
        let rows = |rows: &[&[u32]]| rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>();
        assert_eq!(overlap(&rows(&[&[1, 2, 3, 4, 5]]), &rows(&[&[5, 4, 9, 8, 7]])), Some(0.4));
        assert_eq!(overlap(&rows(&[&[1, 2], &[3, 4]]), &rows(&[&[2, 1], &[5, 6]])), Some(0.5));
        assert_eq!(overlap(&rows(&[&[1]]), &rows(&[])), None);
    }

    #[test]
    fn distance_is_relative_to_the_answer() {
        let t = |v: &[f32]| Tensor::from_f32(vec![1, v.len()], v).unwrap();
        assert_eq!(distance(&t(&[1.0, -4.0]), &t(&[1.0, -4.0])), 0.0);
        assert_eq!(distance(&t(&[1.0, -4.0]), &t(&[2.0, -4.0])), 0.25);
        assert_eq!(distance(&t(&[1.0]), &t(&[1.0, 2.0])), f64::INFINITY);
        assert_eq!(distance(&t(&[0.0]), &t(&[0.0])), 0.0);
    }
}
