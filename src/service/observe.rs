//! What is kept of a prediction once it is answered: a line of the log, a step of the drift monitor. Both
//! are made on the thread that gives way to all others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::classes::top_classes;
use crate::input::InputValue;
use crate::observe::drift::InputStats;
use crate::observe::prediction_log::{Input, PredictionLog, Record, Scored, Timings};
use crate::router::ServedVersion;
use crate::tensor::{DType, Tensor};
use crate::vision::{Answerer, Class, best};

/// Classes of a row that are logged where the model does not say how many.
const TOP: usize = 5;

/// A prediction.
pub struct Seen {
    /// Who answered.
    pub version: Arc<ServedVersion>,
    /// By input name, as it came; empty unless the log wants it.
    pub inputs: Vec<(String, InputValue)>,
    /// As the model got it.
    pub bound: Vec<Tensor>,
    /// In the signature's order.
    pub outputs: Vec<Tensor>,
    /// Stages.
    pub queued: Duration,
    /// Of its images.
    pub preprocess: Duration,
    /// The engine's run.
    pub compute: Duration,
    /// Whether the drift monitor takes it.
    pub drift: bool,
    /// Whether the log does.
    pub logged: bool,
}

/// A prediction that was answered.
pub struct Answered {
    /// The prediction.
    pub seen: Seen,
    /// Its id.
    pub id: String,
    /// The HTTP status.
    pub status: u16,
    /// From routed to answered.
    pub total: Duration,
}

impl Seen {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bound.iter().chain(&self.outputs).map(|t| t.data().len()).sum()
    }
}

impl Answered {
    /// Does it.
    pub fn keep(self, log: Option<&PredictionLog>) {
        let version = &self.seen.version;
        if let Some(monitor) = version.drift.as_ref().filter(|_| self.seen.drift) {
            let classes = top_classes(version, &self.seen.outputs).unwrap_or_default();
            let input = version.image.as_ref().map_or(0, |(at, _)| *at);
            for (row, stats) in rows(self.seen.bound.get(input)).enumerate() {
                let class = classes.get(row..=row).unwrap_or_default();
                monitor.observe(&stats, class);
            }
        }
        if let Some(log) = log.filter(|_| self.seen.logged) {
            log.record(self.record());
        }
    }

    fn record(self) -> Record {
        let Answered { seen, id, status, total } = self;
        let us = |d: Duration| d.as_micros() as u64;
        let timings_us = Timings {
            queue: us(seen.queued),
            preprocess: us(seen.preprocess),
            compute: us(seen.compute),
            total: us(total),
        };
        Record {
            at: Timestamp::now(),
            request_id: id,
            model: seen.version.info.model.clone(),
            version: seen.version.info.version,
            status: if status == 200 { "ok".into() } else { status.to_string().into() },
            top_k: top(&seen),
            timings_us,
            inputs: seen.inputs.into_iter().flat_map(|(name, value)| input(name, value)).collect(),
        }
    }
}

fn rows(tensor: Option<&Tensor>) -> impl Iterator<Item = InputStats> {
    let values = tensor.and_then(Tensor::to_f32).unwrap_or_default();
    let (rows, channels) = match tensor.map(Tensor::shape) {
        // Channels first, of which there are few.
        Some([rows, channels @ 1..=4, _, _]) => (*rows, *channels),
        Some([rows, ..]) => (*rows, 1),
        _ => (1, 1),
    };
    let row = values.len().checked_div(rows).filter(|n| *n > 0).unwrap_or(1);
    let stats = values.chunks_exact(row).map(|r| InputStats::of_planes(r, channels));
    stats.collect::<Vec<_>>().into_iter()
}

fn top(seen: &Seen) -> Vec<Vec<Scored>> {
    if top_classes(&seen.version, &seen.outputs).is_none() {
        return Vec::new();
    }
    let rows = seen.outputs.first().map_or(0, Tensor::rows);
    match &seen.version.answerer {
        Some(Answerer::Classifier(classifier)) => {
            let scored =
                |c: Class| Scored { class: c.index as u32, label: c.label, score: c.score };
            let ranked = (0..rows).filter_map(|row| classifier.rank(&seen.outputs, row, None).ok());
            ranked.map(|classes| classes.into_iter().map(scored).collect()).collect()
        }
        _ => {
            let scores = seen.outputs.first().and_then(Tensor::to_f32).unwrap_or_default();
            let classes = scores.len().checked_div(rows).unwrap_or(0).max(1);
            let row = |row: &[f32]| {
                let scored = |c: usize| Scored { class: c as u32, label: None, score: row[c] };
                best(row, TOP).into_iter().map(scored).collect()
            };
            scores.chunks_exact(classes).map(row).collect()
        }
    }
}

fn input(name: String, value: InputValue) -> Vec<Input> {
    let image = |image: Bytes| Input::Image { image: [image].into_iter().collect() };
    match value {
        InputValue::Images(images) => images.into_iter().map(image).collect(),
        InputValue::Tensor(tensor) => {
            let (dtype, shape): (DType, _) = (tensor.dtype(), tensor.shape().to_vec());
            let data = tensor.data().pieces().iter().cloned().collect();
            vec![Input::Tensor { name, dtype: dtype.name(), shape, data }]
        }
    }
}
