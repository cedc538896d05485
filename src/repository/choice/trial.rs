//! Candidates against the reference: who gives its answers, and who is the fastest of those.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::candidates::Candidates;
use super::samples::samples;
use super::tolerance::{Difference, Tolerance, compare};
use super::{Ask, Choice};
use crate::engine::{self, Batch, Engine, EngineError, Model, Precision, Signature};
use crate::repository::load::LoadError;
use crate::tensor::Tensor;

/// How long a candidate is timed, and how often at the least and at the most.
const BUDGET: Duration = Duration::from_millis(300);
const RUNS: std::ops::RangeInclusive<usize> = 3..=50;

/// A coarser precision must save as much of the time, or it isn't worth what it costs.
const WORTH: f64 = 0.9;

/// How a candidate did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tried {
    pub engine: String,
    pub precision: String,
    /// Of the smallest request, in milliseconds; the shortest of several runs.
    pub milliseconds: Option<f64>,
    /// From the reference, in the output's units and as a share of its largest value.
    pub difference: Option<(f64, f64)>,
    /// Why it is out, if it is.
    pub refused: Option<String>,
}

impl Tried {
    fn new(engine: &str, precision: Precision) -> Tried {
        let (engine, precision) = (engine.to_owned(), precision.name().to_owned());
        Tried { engine, precision, milliseconds: None, difference: None, refused: None }
    }

    pub fn log(&self) {
        let Tried { engine, precision, milliseconds, difference, refused } = self;
        let difference = difference.map(|(absolute, _)| absolute);
        tracing::info!(engine, precision, milliseconds, difference, refused, "an engine tried");
    }
}

/// A model that gives the right answers, and how fast.
struct Runner {
    engine: &'static str,
    precision: Precision,
    model: Arc<dyn Model>,
    milliseconds: f64,
}

/// The first engine that loads the model in 32 bits, and what the others must do as well as it.
struct Reference {
    engine: Arc<dyn Engine>,
    model: Arc<dyn Model>,
    requests: Vec<Batch>,
    outputs: Vec<Vec<Tensor>>,
}

/// Tries all. The model that is chosen comes with how each did.
pub(super) fn run(
    ask: &Ask<'_>,
    candidates: &Candidates,
    known: Option<&Signature>,
    tolerance: impl Fn(Precision) -> Tolerance,
) -> Result<(Choice, Vec<Tried>), LoadError> {
    let mut failures = Vec::new();
    let Some((engine, model)) = first_that_loads(ask, candidates, known, &mut failures) else {
        return Err(LoadError::NoEngine(failures.iter().map(ToString::to_string).collect()));
    };
    let name = engine.name();
    let Some(requests) = samples(ask.spec, model.signature()) else {
        let why = "its inputs have dimensions of any length, so engines can't be compared on it";
        let choice = Choice { engine: name, precision: Precision::F32, model, why: why.to_owned() };
        return Ok((choice, Vec::new()));
    };
    let requests: Vec<_> = requests.iter().map(|request| Batch::of(request)).collect();
    let outputs = outputs(name, model.as_ref(), &requests)?;
    let reference = Reference { engine, model, requests, outputs };
    let (mut best, mut tried): (Option<Runner>, Vec<Tried>) = (None, Vec::new());
    for (engine, precision) in &candidates.pairs {
        let mut told = Tried::new(engine.name(), *precision);
        match reference.try_one(ask, engine, *precision, tolerance(*precision), &mut told) {
            Ok(runner) => {
                told.milliseconds = Some(runner.milliseconds);
                let coarser = |best: &Runner| runner.precision != best.precision;
                let bar = |best: &Runner| if coarser(best) { WORTH } else { 1.0 };
                if best.as_ref().is_none_or(|b| runner.milliseconds < b.milliseconds * bar(b)) {
                    best = Some(runner);
                }
            }
            Err(why) => told.refused = Some(why),
        }
        tried.push(told);
    }
    let Some(best) = best else {
        let refused = tried
            .iter()
            .filter_map(|t| Some(format!("{} {}: {}", t.engine, t.precision, t.refused.as_ref()?)));
        return Err(LoadError::NoEngine(refused.collect()));
    };
    let why = why(&best, &tried, name, &failures);
    let Runner { engine, precision, model, .. } = best;
    Ok((Choice { engine, precision, model, why }, tried))
}

fn first_that_loads(
    ask: &Ask<'_>,
    candidates: &Candidates,
    known: Option<&Signature>,
    failures: &mut Vec<EngineError>,
) -> Option<(Arc<dyn Engine>, Arc<dyn Model>)> {
    for engine in &candidates.references {
        match ask.load(engine, Precision::F32, known) {
            Ok(model) => return Some((engine.clone(), model)),
            Err(EngineError::Unavailable { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "an engine can't load a model; others are tried");
                failures.push(error);
            }
        }
    }
    None
}

impl Reference {
    fn try_one(
        &self,
        ask: &Ask<'_>,
        engine: &Arc<dyn Engine>,
        precision: Precision,
        tolerance: Tolerance,
        told: &mut Tried,
    ) -> Result<Runner, String> {
        let name = engine.name();
        if name == self.engine.name() && precision == Precision::F32 {
            let milliseconds = self.time(name, self.model.as_ref())?;
            return Ok(Runner { engine: name, precision, model: self.model.clone(), milliseconds });
        }
        let expected = self.model.signature();
        let model = ask.load(engine, precision, Some(expected)).map_err(|e| e.to_string())?;
        let signature = model.signature();
        if (&signature.inputs, signature.batch_mode) != (&expected.inputs, expected.batch_mode) {
            return Err(format!(
                "it takes other inputs, or joins them otherwise: {:?} instead of {:?}",
                signature.batch_mode, expected.batch_mode
            ));
        }
        let outputs = outputs(name, model.as_ref(), &self.requests).map_err(|e| e.to_string())?;
        let difference = compare(&self.outputs, &outputs)?;
        told.difference = Some((difference.absolute, difference.relative));
        within(tolerance, &difference)?;
        // What the runs lent goes back first, so that they are timed as they will be.
        drop(outputs);
        let milliseconds = self.time(name, model.as_ref())?;
        Ok(Runner { engine: name, precision, model, milliseconds })
    }

    fn time(&self, engine: &'static str, model: &dyn Model) -> Result<f64, String> {
        let Some(request) = self.requests.first() else { return Err("nothing to run".to_owned()) };
        let (start, mut shortest) = (Instant::now(), f64::INFINITY);
        for run in 1..=*RUNS.end() {
            let before = Instant::now();
            engine::run(engine, model, request).map_err(|e| e.to_string())?;
            // The shortest is what the model takes; the others are what else the machine does.
            shortest = shortest.min(before.elapsed().as_secs_f64() * 1e3);
            if run >= *RUNS.start() && start.elapsed() > BUDGET {
                break;
            }
        }
        Ok(shortest)
    }
}

fn within(tolerance: Tolerance, difference: &Difference) -> Result<(), String> {
    if tolerance.allows(difference) {
        return Ok(());
    }
    Err(format!("its answers differ by {difference}; allowed is {:.0e} of it", tolerance.0))
}

fn outputs(
    engine: &'static str,
    model: &dyn Model,
    requests: &[Batch],
) -> Result<Vec<Vec<Tensor>>, EngineError> {
    requests.iter().map(|batch| engine::run(engine, model, batch)).collect()
}

fn why(best: &Runner, tried: &[Tried], reference: &str, failures: &[EngineError]) -> String {
    let figures = tried.iter().map(|t| match t.milliseconds {
        Some(ms) => format!("{} {} {ms:.2} ms", t.engine, t.precision),
        None => format!("{} {} is out", t.engine, t.precision),
    });
    let figures: Vec<_> = figures.collect();
    let mut why = format!("the fastest that agrees with {reference}: {}", figures.join(", "));
    if best.engine == reference && tried.iter().filter(|t| t.refused.is_none()).count() == 1 {
        why = format!("the only one that serves it: {}", figures.join(", "));
    }
    for failure in failures {
        why += &format!("; {failure}");
    }
    why
}
