//! Measures settings on this machine: the model behind a real scheduler, requests at random times.
//!
//! What a request costs before it is queued (sockets, decoding) is not in it: that is the same for all
//! settings.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use super::raw::time_runs;
use super::search::Rig;
use super::setting::{Capacity, Point, Setting};
use crate::batcher::{Limits, Priority, Queue, Scheduler, Slo, Target, Threads};
use crate::engine::{self, Batch};
use crate::repository::choice::samples;
use crate::repository::load::{LoadError, LoadedVersion};
use crate::telemetry::metrics::Metrics;
use crate::tensor::Tensor;

/// How long a batch is timed without a load, and how often at the least.
const RAW: Duration = Duration::from_millis(400);
const RAW_RUNS: usize = 3;

/// Requests of a rate that is tried, at the least, however long that takes: of fewer than a hundred, none is
/// the 99th percentile.
const REQUESTS: usize = 100;

/// How often the span of rates is halved: 1.6 % of the span is left.
const HALVINGS: usize = 6;

/// When a request is given up. Only the objective counts, but an answer must come at some time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// It doesn't load that way.
    #[error("{setting}: {source}")]
    Load {
        /// The way.
        setting: Setting,
        /// Why.
        source: LoadError,
    },
    /// It doesn't run.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// There is nothing to send.
    #[error("the model's inputs have dimensions of any length; declare [input] size in model.toml")]
    NoInput,
    /// The machine gives no threads.
    #[error("can't start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The registry of metrics refuses.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Loads a version as a setting says.
type Load<'a> = dyn Fn(&Setting) -> Result<LoadedVersion, LoadError> + 'a;

/// This machine, with one model.
pub struct Machine<'a> {
    load: Box<Load<'a>>,
    /// Told of each step.
    tell: Box<dyn Fn(&str) + 'a>,
    slo: Slo,
    /// Of the queue, but for what is tuned.
    limits: Limits,
    /// How long a rate is tried.
    seconds: f64,
    scheduler: Scheduler,
    metrics: Arc<Metrics>,
    runtime: tokio::runtime::Runtime,
    loaded: Vec<Loaded>,
    timed: Vec<(Setting, usize, f64)>,
    seed: u64,
}

/// The model as one engine has it.
struct Loaded {
    setting: Setting,
    target: Arc<Target>,
    /// The inputs of a request.
    request: Vec<Tensor>,
}

impl<'a> Machine<'a> {
    /// A machine with so many compute threads.
    pub fn new(
        threads: usize,
        slo: Slo,
        limits: Limits,
        seconds: f64,
        load: impl Fn(&Setting) -> Result<LoadedVersion, LoadError> + 'a,
        tell: impl Fn(&str) + 'a,
    ) -> Result<Machine<'a>, RigError> {
        let metrics = Metrics::new(true)?;
        let scheduler =
            Scheduler::start(Threads { compute: threads, decode: threads }, metrics.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_time()
            .build()?;
        let (load, tell) = (Box::new(load), Box::new(tell));
        let (loaded, timed, seed) = (Vec::new(), Vec::new(), 1);
        Ok(Machine {
            load,
            tell,
            slo,
            limits,
            seconds,
            scheduler,
            metrics,
            runtime,
            loaded,
            timed,
            seed,
        })
    }

    fn loaded(&mut self, setting: &Setting) -> Result<(Arc<Target>, Vec<Tensor>), RigError> {
        if let Some(known) = self.loaded.iter().find(|l| same_model(&l.setting, setting)) {
            return Ok((known.target.clone(), known.request.clone()));
        }
        let loaded = (self.load)(setting)
            .map_err(|source| RigError::Load { setting: setting.clone(), source })?;
        let requests = samples(&loaded.spec, loaded.model.signature()).ok_or(RigError::NoInput)?;
        let request = requests.into_iter().next().ok_or(RigError::NoInput)?;
        // A model for each engine and split, so that their curves and figures stay apart.
        let name = format!("tuned-{}", self.loaded.len());
        let target = Arc::new(Target {
            name: name.as_str().into(),
            version: 1,
            engine: loaded.engine,
            model: loaded.model,
            metrics: Arc::new(self.metrics.version(&name, 1)),
        });
        let setting = setting.clone();
        self.loaded.push(Loaded { setting, target: target.clone(), request: request.clone() });
        Ok((target, request))
    }

    fn limits(&self, setting: &Setting) -> Limits {
        Limits {
            rule: setting.rule,
            max_batch: setting.max_batch,
            max_queue_delay: setting.delay,
            instances: setting.instances,
            cores: setting.threads as f64,
            ..self.limits
        }
    }

    /// Sends requests at one rate; tells whether the objective was kept, and how it went.
    fn at(&mut self, queue: &Arc<Queue>, request: &[Tensor], rate: f64) -> (bool, Point) {
        // Enough that one may be late.
        let least = REQUESTS.max((1.0 / (1.0 - self.slo.share) - 1e-6).ceil() as usize);
        let count = ((rate * self.seconds) as usize).max(least);
        let late_allowed = ((1.0 - self.slo.share) * count as f64 + 1e-6) as usize;
        self.seed += 1;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let (told, answers) = mpsc::channel();
        let start = Instant::now();
        let (mut due, mut seen) = (0.0, Seen::new(self.slo.within));
        let mut sent = 0;
        while sent < count {
            due -= (1.0 - random.f64()).ln() / rate;
            let due = start + Duration::from_secs_f64(due);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.runtime.spawn(ask(queue.clone(), request.to_vec(), due, told.clone()));
            sent += 1;
            seen.take(&answers);
            // It is lost already: what comes now would only be late, too.
            if seen.late > 2 * late_allowed + 3 {
                break;
            }
        }
        drop(told);
        seen.wait(&answers);
        let took = start.elapsed().as_secs_f64();
        let point = Point {
            offered: if sent == count { rate } else { sent as f64 / took.max(1e-9) },
            in_time: 1.0 - seen.late as f64 / sent.max(1) as f64,
            p50: seen.quantile(0.5),
            tail: seen.quantile(self.slo.share),
        };
        (seen.late <= late_allowed, point)
    }
}

impl Rig for Machine<'_> {
    type Error = RigError;

    fn exec(&mut self, setting: &Setting, rows: usize) -> Result<f64, RigError> {
        let known = |(s, r, _): &&(Setting, usize, f64)| same_model(s, setting) && *r == rows;
        if let Some((.., seconds)) = self.timed.iter().find(known) {
            return Ok(*seconds);
        }
        let (target, request) = self.loaded(setting)?;
        let together = |t: &Tensor| Tensor::concat_rows(&vec![t.clone(); rows]);
        let inputs: Option<Vec<_>> = request.iter().map(together).collect();
        let batch = Batch::of(&inputs.ok_or(RigError::NoInput)?);
        let (engine, model) = (target.engine, target.model.as_ref());
        let mut took = time_runs(engine, model, &batch, setting.instances, RAW, RAW_RUNS)?;
        took.sort_unstable_by(f64::total_cmp);
        let seconds = took.get(took.len() / 2).copied().unwrap_or(f64::INFINITY);
        (self.tell)(&format!("{setting}: {:.2} ms for {rows} rows", seconds * 1e3));
        self.timed.push((setting.clone(), rows, seconds));
        Ok(seconds)
    }

    fn capacity(&mut self, setting: &Setting) -> Result<Capacity, RigError> {
        let (target, request) = self.loaded(setting)?;
        let (one, full) = (self.exec(setting, 1)?, self.exec(setting, setting.max_batch)?);
        let queue = Arc::new(self.scheduler.open(target, self.limits(setting)));
        let took = |seconds: f64| Duration::from_secs_f64(seconds);
        queue.learn(&[(1, took(one)), (setting.max_batch, took(full))]);
        // Nothing serves more than its engine computes.
        let (one, full) = (1.0 / one, setting.max_batch as f64 / full);
        let most = setting.instances as f64 * one.max(full);
        let (mut kept, mut missed) = (0.0, 1.1 * most);
        let mut capacity = Capacity::default();
        for _ in 0..HALVINGS {
            let rate = f64::midpoint(kept, missed);
            let (in_time, point) = self.at(&queue, &request, rate);
            capacity.points.push(point);
            if in_time { kept = rate } else { missed = rate }
        }
        capacity.rate = kept;
        (self.tell)(&format!("{setting}: {kept:.1} requests a second within {}", self.slo));
        Ok(capacity)
    }
}

/// Whether both need the same of the engine: only batching differs.
fn same_model(a: &Setting, b: &Setting) -> bool {
    (a.engine, a.precision, a.instances, a.threads)
        == (b.engine, b.precision, b.instances, b.threads)
}

/// One request, due at a time; tells how long after that its answer was there, if one came.
async fn ask(queue: Arc<Queue>, inputs: Vec<Tensor>, due: Instant, told: Sender<Option<Duration>>) {
    let answer = async {
        let place = queue.reserve(Priority::Normal)?;
        queue.infer(place, inputs, Instant::now() + TIMEOUT).await
    };
    let took = answer.await.ok().map(|_| due.elapsed());
    // Who measures waits for every answer.
    let _ = told.send(took);
}

/// The answers that came.
struct Seen {
    within: Duration,
    took: Vec<f64>,
    late: usize,
}

impl Seen {
    fn new(within: Duration) -> Seen {
        Seen { within, took: Vec::new(), late: 0 }
    }

    fn add(&mut self, took: Option<Duration>) {
        self.took.push(took.map_or(f64::INFINITY, |took| took.as_secs_f64()));
        self.late += usize::from(took.is_none_or(|took| took > self.within));
    }

    fn take(&mut self, answers: &Receiver<Option<Duration>>) {
        answers.try_iter().for_each(|took| self.add(took));
    }

    fn wait(&mut self, answers: &Receiver<Option<Duration>>) {
        answers.iter().for_each(|took| self.add(took));
    }

    fn quantile(&mut self, share: f64) -> f64 {
        self.took.sort_unstable_by(f64::total_cmp);
        let at = (share * self.took.len() as f64).ceil() as usize;
        self.took.get(at.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
    }
}
