//! The use-case that every protocol calls: route, preprocess, queue, answer.
//!
//! Protocols translate into [`Request`] and out of [`Response`], and know nothing below.

mod background;
mod classes;
mod compute;
mod decode_pool;
mod observe;
mod shadow;
mod turns;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub use background::Background;
pub use classes::{Classes, top_classes};
pub use decode_pool::DecodePool;

use crate::batcher::Place;
use crate::cache::Kept;
use crate::error::InferError;
use crate::input::InputValue;
use crate::observe::prediction_log::PredictionLog;
use crate::prediction_id::{MAX_CLASSES, PredictionId};
use crate::router::{Asked, ModelSpec, Route, Router, ServedVersion, VersionInfo};
use crate::telemetry::trace::{RequestTrace, Stage};
use crate::tensor::Tensor;
use crate::vision::{Answer, Answerer, Placement, VisionError};
use compute::{Computed, Run};
use observe::{Answered, Seen};
use shadow::Copy;

/// Bytes of a body from which parsing it takes longer than a thread switch by far.
const LONG_WORK: usize = 64 << 10;

/// Inputs by name, in any order.
type Named = Vec<(String, InputValue)>;

/// Routes requests and runs them.
pub struct InferenceService {
    /// What is served.
    pub router: Arc<Router>,
    pool: DecodePool,
    background: Arc<Background>,
    default_timeout: Duration,
}

/// A request that was routed. Decode it by [`Routed::version`]'s signature, then run it.
pub struct Routed {
    /// Who answers.
    pub version: Arc<ServedVersion>,
    /// Where its time goes, if that is told to somebody.
    pub trace: Option<RequestTrace>,
    /// What its answer will be known by.
    pub ticket: Arc<Ticket>,
    copies: smallvec::SmallVec<[Arc<ServedVersion>; 2]>,
    /// What the copies are of, once it is computed.
    copied: OnceLock<(Named, Vec<Tensor>)>,
    /// What is kept of it, once it is computed.
    seen: OnceLock<Box<Seen>>,
    background: Arc<Background>,
    started: Instant,
    /// When it was asked for: before `started`, if its model had to be loaded first.
    asked: Instant,
    finished: bool,
}

/// What an answer is known by afterwards: feedback names it.
pub struct Ticket {
    unique: uuid::Uuid,
    version: Arc<ServedVersion>,
    arm_of: Option<u64>,
    classes: OnceLock<Classes>,
    recalled: OnceLock<bool>,
}

impl Ticket {
    /// Who answered.
    pub fn version(&self) -> &VersionInfo {
        &self.version.info
    }

    /// Whether the answer was kept; nothing if none was looked for.
    pub fn recalled(&self) -> Option<bool> {
        self.recalled.get().copied()
    }

    /// The text of it.
    pub fn id(&self) -> String {
        let info = &self.version.info;
        let classes = self.classes.get().filter(|c| c.len() <= MAX_CLASSES).cloned();
        let id = |classes| {
            let id = PredictionId::new(self.unique, &info.model, info.version, classes)?;
            match self.arm_of {
                Some(revision) => id.under(revision),
                None => Ok(id),
            }
        };
        // A name too long for an id has none to show; nothing can be fed back then.
        let id = id(classes.unwrap_or_default()).or_else(|_| id(Classes::new()));
        id.map(|id| id.to_string()).unwrap_or_default()
    }
}

/// A decoded request.
pub struct Request {
    /// By input name, in any order.
    pub inputs: Named,
    /// See [`InferenceService::deadline`].
    pub deadline: Instant,
    /// Whether it is to be computed even if its answer is kept.
    pub fresh: bool,
}

/// A computed request.
pub struct Response {
    /// In the signature's order.
    pub outputs: Vec<Tensor>,
    /// How each image was laid into the model's input; empty if tensors came.
    pub placements: Vec<Placement>,
}

impl InferenceService {
    /// A service over `router`.
    pub fn new(
        router: Arc<Router>,
        pool: DecodePool,
        background: Background,
        default_timeout: Duration,
    ) -> Self {
        InferenceService { router, pool, background: Arc::new(background), default_timeout }
    }

    /// Picks the version that answers.
    pub fn route(&self, spec: &ModelSpec, request: &dyn Asked) -> Result<Routed, InferError> {
        let Route { version, arm_of, shadows: copies } = self.router.route(spec, request)?;
        version.queue.target().metrics.started();
        let ticket = Ticket {
            unique: uuid::Uuid::now_v7(),
            version: version.clone(),
            arm_of,
            classes: OnceLock::new(),
            recalled: OnceLock::new(),
        };
        let started = Instant::now();
        Ok(Routed {
            version,
            trace: None,
            ticket: Arc::new(ticket),
            copies,
            copied: OnceLock::new(),
            seen: OnceLock::new(),
            background: self.background.clone(),
            started,
            asked: started,
            finished: false,
        })
    }

    /// The log of predictions, if there is one.
    pub fn prediction_log(&self) -> Option<&PredictionLog> {
        self.background.log()
    }

    /// What a request gets that does not say how long it may take.
    pub fn default_timeout(&self) -> Duration {
        self.default_timeout
    }

    /// When a request is late: the time its caller gives after it was asked for, or else the server's default.
    pub fn deadline(&self, routed: &Routed, timeout: Option<Duration>) -> Instant {
        routed.asked + timeout.unwrap_or(self.default_timeout)
    }

    /// Runs CPU work over `bytes` of a body: where it stands if it is short, else on the decode
    /// pool in the turn of its model, so that it does not keep other requests from being read.
    pub async fn work<T: Send + 'static>(
        &self,
        version: Option<&ServedVersion>,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, InferError> {
        if bytes < LONG_WORK { Ok(work()) } else { self.pool.run(version, work).await }
    }

    /// Computes a request on the version it was routed to; `place` is its place in the queue.
    pub async fn infer(
        &self,
        routed: &Routed,
        place: Place,
        request: Request,
    ) -> Result<Response, InferError> {
        let version = &routed.version;
        let deadline = request.deadline;
        if deadline <= Instant::now() {
            // What it asked for stood in its body, or decoding that took all the time.
            return Err(routed.late(deadline));
        }
        let log = self.background.log();
        let wants_inputs = log.is_some_and(PredictionLog::wants_inputs);
        let copies = !routed.copies.is_empty();
        let given = (copies || wants_inputs).then(|| request.inputs.clone());
        let kept = log.is_some() || version.drift.is_some();
        let Computed { response, run } = self.answer(routed, place, request, kept).await?;
        if version.classes_in_ids
            && let Some(classes) = top_classes(version, &response.outputs)
        {
            drop(routed.ticket.classes.set(classes));
        }
        let logged = log.is_some_and(|log| log.wants(&routed.ticket.id()));
        // What the model did not get says nothing new of what comes in.
        let drift = version.drift.is_some() && run.is_some();
        if logged || drift {
            let inputs = given.clone().filter(|_| wants_inputs && logged).unwrap_or_default();
            let Run { bound, queued, preprocess, compute } = run.unwrap_or_default();
            let seen = Seen {
                version: version.clone(),
                inputs,
                bound: bound.unwrap_or_default(),
                outputs: response.outputs.clone(),
                queued,
                preprocess,
                compute,
                drift,
                logged,
            };
            drop(routed.seen.set(Box::new(seen)));
        }
        if let Some(inputs) = given.filter(|_| copies) {
            drop(routed.copied.set((inputs, response.outputs.clone())));
        }
        Ok(response)
    }
}

impl Response {
    fn as_kept(&self) -> Kept {
        Kept { outputs: self.outputs.clone(), placements: self.placements.clone() }
    }

    /// Bytes of all outputs.
    pub fn bytes(&self) -> usize {
        self.outputs.iter().map(|t| t.data().len()).sum()
    }

    /// What the declared output says of each row.
    pub fn answers(
        &self,
        version: &ServedVersion,
        top_k: Option<usize>,
    ) -> Result<Option<Vec<Answer>>, InferError> {
        let Some(answerer) = &version.answerer else { return Ok(None) };
        let rows = self.outputs.first().map_or(0, Tensor::rows);
        let one = |row| match (answerer, self.placements.get(row)) {
            (_, Some(placement)) => answerer.answer(&self.outputs, row, top_k, placement),
            (Answerer::Classifier(c), None) => {
                c.rank(&self.outputs, row, top_k).map(Answer::Classes)
            }
            (Answerer::Detector(_), None) => Err(VisionError::Spec(
                "boxes can only be given back for images that came encoded".to_owned(),
            )),
        };
        let answers: Result<Vec<_>, _> = (0..rows).map(one).collect();
        answers.map(Some).map_err(|e| InferError::Internal(e.to_string()))
    }
}

impl Routed {
    /// The error of this request when its `deadline` has passed.
    pub fn late(&self, deadline: Instant) -> InferError {
        self.version.queue.target().late(deadline.saturating_duration_since(self.asked))
    }

    /// It was asked for then, and its model had to be loaded first: that counts as its time, and not as
    /// the version's.
    pub fn asked_at(mut self, asked: Instant) -> Routed {
        self.asked = asked;
        self
    }

    /// A stage of it ended just now that took so long.
    pub fn passed(&self, stage: Stage, took: Duration) {
        if let Some(trace) = &self.trace {
            trace.passed(stage, took);
        }
    }

    /// The request was answered with an HTTP status (or its like in another protocol).
    pub fn finish(mut self, status: u16) {
        self.record(status);
    }

    /// Hands the copies on, now that the answer is on its way.
    fn copy(&mut self) {
        let Some((inputs, outputs)) = self.copied.take() else { return };
        for version in self.copies.drain(..) {
            let (inputs, outputs) = (inputs.clone(), outputs.clone());
            self.background.copy(Copy { version, by: self.version.clone(), inputs, outputs });
        }
    }

    fn keep(&mut self, status: u16, total: Duration) {
        let Some(seen) = self.seen.take() else { return };
        let logged = seen.logged;
        let answered = Answered { seen: *seen, id: self.ticket.id(), status, total };
        if !self.background.keep(answered)
            && logged
            && let Some(log) = self.background.log()
        {
            log.counters().dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn record(&mut self, status: u16) {
        if !std::mem::replace(&mut self.finished, true) {
            let (metrics, took) = (&self.version.queue.target().metrics, self.started.elapsed());
            metrics.finished(status, took);
            if self.ticket.arm_of.is_some() {
                metrics.arm.answered(status, took);
            }
            self.copy();
            self.keep(status, took);
            if let Some(trace) = self.trace.take() {
                trace.finish(&self.version.info.model, self.version.info.version, status);
            }
        }
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        // Dropped without an answer: the caller hung up. 499 is what TensorFlow Serving calls it.
        self.record(499);
    }
}
