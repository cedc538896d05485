//! What is done after the answer, on a thread that gives way to every other, and not at all when there is no
//! spare capacity: copies of requests for versions that are tried, and what is kept of predictions. Nothing
//! here can slow or fail an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::classes::{top_classes, top_k_classes};
use super::observe::Answered;
use crate::batcher::run_now;
use crate::input::InputValue;
use crate::observe::prediction_log::PredictionLog;
use crate::router::ServedVersion;
use crate::telemetry::delivery::Agreement;
use crate::tensor::Tensor;
use crate::vision::ImageLimits;

/// Copies that may wait.
const COPIES: usize = 64;
/// Things in all that may wait.
const WAITING: usize = 4096;
/// Bytes of the copies that may wait: beside those that requests under way may hold.
const BYTES: usize = 64 << 20;

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

/// What is done after an answer.
enum After {
    Copy(Box<Copy>),
    Keep(Box<Answered>),
}

/// The thread that does it.
pub struct Background {
    queue: Option<SyncSender<After>>,
    bytes: Arc<AtomicUsize>,
    copies: Arc<AtomicUsize>,
    log: Option<Arc<PredictionLog>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread. What is logged goes to `log`.
    pub fn start(limits: ImageLimits, log: Option<PredictionLog>) -> std::io::Result<Background> {
        let (queue, work) = sync_channel(WAITING);
        let (bytes, copies) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let log = log.map(Arc::new);
        let (held, counted, to) = (bytes.clone(), copies.clone(), log.clone());
        let thread = std::thread::Builder::new()
            .name("ocelli-background".to_owned())
            .spawn(move || run(&work, &held, &counted, &limits, to.as_deref()))?;
        Ok(Background { queue: Some(queue), bytes, copies, log, thread: Some(thread) })
    }

    /// The log of predictions, if there is one.
    pub fn log(&self) -> Option<&PredictionLog> {
        self.log.as_deref()
    }

    /// Computes a copy some time, or drops it.
    pub fn copy(&self, copy: Copy) {
        let (size, tally) = (copy.bytes(), copy.version.clone());
        let waiting = self.copies.fetch_add(1, Ordering::Relaxed);
        if waiting >= COPIES || !self.submit(size, After::Copy(Box::new(copy))) {
            self.copies.fetch_sub(1, Ordering::Relaxed);
            tally.queue.target().metrics.arm.shadow_shed();
        }
    }

    /// Keeps something of a prediction some time, or not. Tells whether it will.
    pub fn keep(&self, answered: Answered) -> bool {
        self.submit(answered.seen.bytes(), After::Keep(Box::new(answered)))
    }

    fn submit(&self, size: usize, after: After) -> bool {
        let held = self.bytes.fetch_add(size, Ordering::Relaxed);
        let fits = held + size <= BYTES;
        let sent = fits && self.queue.as_ref().is_some_and(|q| q.try_send(after).is_ok());
        if !sent {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        sent
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the background thread panicked");
        }
    }
}

impl Copy {
    fn bytes(&self) -> usize {
        let input = |(_, value): &(String, InputValue)| match value {
            InputValue::Tensor(tensor) => tensor.data().len(),
            InputValue::Images(images) => images.iter().map(bytes::Bytes::len).sum(),
        };
        let outputs = self.outputs.iter().map(|t| t.data().len());
        self.inputs.iter().map(input).chain(outputs).sum()
    }
}

fn run(
    work: &Receiver<After>,
    held: &AtomicUsize,
    copies: &AtomicUsize,
    limits: &ImageLimits,
    log: Option<&PredictionLog>,
) {
    give_way();
    while let Ok(after) = work.recv() {
        let size = match &after {
            After::Copy(copy) => {
                copies.fetch_sub(1, Ordering::Relaxed);
                copy.bytes()
            }
            After::Keep(answered) => answered.seen.bytes(),
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match after {
            After::Copy(copy) => shadow(&copy, limits),
            After::Keep(answered) => answered.keep(log),
        }));
        if done.is_err() {
            tracing::error!("what is done after an answer panicked");
        }
        held.fetch_sub(size, Ordering::Relaxed);
    }
}

fn shadow(copy: &Copy, limits: &ImageLimits) {
    let arm = &copy.version.queue.target().metrics.arm;
    let compute = || compute(copy, limits);
    let computed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(compute));
    match computed.unwrap_or_else(|_| Err("it panicked".to_owned())) {
        Ok((outputs, took)) => arm.shadowed(compare(copy, &outputs), took),
        Err(error) => {
            let info = &copy.version.info;
            tracing::debug!(model = %info.model, version = info.version, error, "a shadow failed");
            arm.shadow_failed();
        }
    }
}

/// Takes the time that nobody else wants.
fn give_way() {
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "can't lower the priority of shadows");
    }
}

fn compute(
    copy: &Copy,
    limits: &ImageLimits,
) -> Result<(Vec<Tensor>, std::time::Duration), String> {
    let version = &copy.version;
    let mut named = Vec::with_capacity(copy.inputs.len());
    for (name, value) in &copy.inputs {
        let tensor = match value {
            InputValue::Tensor(tensor) => tensor.clone(),
            InputValue::Images(images) => {
                let (_, pipeline) = version.image.as_ref().ok_or("the model takes no images")?;
                let rows =
                    images.iter().map(|image| pipeline.run(image, limits).map(|(row, _)| row));
                let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
                Tensor::concat_rows(&rows).ok_or("there is no image")?
            }
        };
        named.push((name.clone(), tensor));
    }
    let inputs = version.bind(named).map_err(|e| e.to_string())?;
    let reply = run_now(version.queue.target(), version.queue.limits().max_batch, &inputs);
    let reply = reply.map_err(|e| e.to_string())?;
    Ok((reply.outputs, reply.compute))
}

fn compare(copy: &Copy, outputs: &[Tensor]) -> Agreement {
    let distance = copy
        .outputs
        .iter()
        .zip(outputs)
        .map(|(given, got)| distance(given, got))
        .fold(if copy.outputs.len() == outputs.len() { 0.0 } else { f64::INFINITY }, f64::max);
    let classes = top_classes(&copy.by, &copy.outputs).zip(top_classes(&copy.version, outputs));
    let same = classes.map_or(distance <= CLOSE, |(given, got)| given == got);
    let top = |version, outputs| top_k_classes(version, outputs, TOP);
    let best = top(&copy.by, &copy.outputs).zip(top(&copy.version, outputs));
    let overlap = best.and_then(|(given, got)| overlap(&given, &got));
    Agreement { same, distance: distance.min(1e6), overlap }
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
