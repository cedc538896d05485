//! Whose work the decode threads do next. Models take turns by their weights, as they do on the compute threads
//! ([`Shares`]), so that a heavy one's photos don't keep a light one's waiting; of a model, what came first goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batcher::Shares;

type Job = Box<dyn FnOnce() + Send>;

/// How much of what a piece of work takes is of the last one.
const GAIN: f64 = 0.125;

/// Work that waits, and the places that are taken, by model.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shares: Shares,
    models: HashMap<Arc<str>, Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    places: usize,
    /// CPU seconds of one, as they are lately.
    seconds: f64,
}

/// What is to be done next, and what it should take.
struct Turn {
    model: Arc<str>,
    job: Job,
    seconds: f64,
}

/// Places that are taken until this is dropped.
pub(super) struct Places {
    turns: Arc<Turns>,
    model: Arc<str>,
    count: usize,
}

impl Drop for Places {
    fn drop(&mut self) {
        if let Some(waiting) = self.turns.lock().models.get_mut(&self.model) {
            waiting.places -= self.count;
        }
    }
}

impl Turns {
    /// Takes places of a model, of which it has `capacity`.
    pub fn places(
        self: &Arc<Self>,
        model: &Arc<str>,
        count: usize,
        capacity: usize,
    ) -> Option<Places> {
        let mut state = self.lock();
        let waiting = state.models.entry(model.clone()).or_default();
        if waiting.places + count > capacity {
            return None;
        }
        waiting.places += count;
        Some(Places { turns: self.clone(), model: model.clone(), count })
    }

    /// Work of a model. For each piece somebody has to call [`Turns::run_next`].
    pub fn push(&self, model: &Arc<str>, weight: f64, job: Job) {
        self.lock().push(model, weight, job);
    }

    /// Does what is next; `clock` is the calling thread's.
    pub fn run_next(&self, clock: impl Fn() -> f64) {
        let Some(Turn { model, job, seconds }) = self.lock().next() else { return };
        let began = clock();
        job();
        self.lock().done(&model, seconds, clock() - began);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, model: &Arc<str>, weight: f64, job: Job) {
        self.shares.weigh(model, weight);
        self.shares.wait(model, 1);
        self.models.entry(model.clone()).or_default().jobs.push_back(job);
    }

    fn next(&mut self) -> Option<Turn> {
        let waiting = self.models.iter_mut().filter(|(_, waiting)| !waiting.jobs.is_empty());
        let tag = |model: &str| self.shares.tag(model);
        let (model, waiting) = waiting.min_by(|a, b| tag(a.0).total_cmp(&tag(b.0)))?;
        let (model, job, seconds) = (model.clone(), waiting.jobs.pop_front()?, waiting.seconds);
        self.shares.took(&model, 1);
        self.shares.start(&model, seconds);
        Some(Turn { model, job, seconds })
    }

    fn done(&mut self, model: &Arc<str>, expected: f64, took: f64) {
        self.shares.settle(model, took - expected);
        if let Some(waiting) = self.models.get_mut(model) {
            waiting.seconds += GAIN * (took - waiting.seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["heavy", "light"];

    /// Seconds that each of two models got of 100, whose pieces take so long.
    fn got(weights: [f64; 2], takes: [f64; 2]) -> [f64; 2] {
        let names = NAMES.map(Arc::<str>::from);
        let (mut state, mut got) = (State::default(), [0.0; 2]);
        for _ in 0..100_000 {
            names.iter().zip(weights).for_each(|(n, w)| state.push(n, w, Box::new(|| ())));
        }
        while got[0] + got[1] < 100.0 {
            let Turn { model, seconds, .. } = state.next().unwrap();
            let who = usize::from(&*model == NAMES[1]);
            got[who] += takes[who];
            state.done(&model, seconds, takes[who]);
        }
        got
    }

    #[test]
    fn models_share_the_threads_by_weight_whatever_their_photos_take() {
        let [heavy, light] = got([1.0, 1.0], [0.05, 0.001]);
        assert!((heavy / light - 1.0).abs() < 0.02, "{heavy} {light}");
        let [heavy, light] = got([1.0, 3.0], [0.05, 0.001]);
        assert!((light / heavy - 3.0).abs() < 0.05, "{heavy} {light}");
    }

    #[test]
    fn one_that_comes_beside_a_long_queue_goes_before_it() {
        let names = NAMES.map(Arc::<str>::from);
        let mut state = State::default();
        (0..100).for_each(|_| state.push(&names[0], 1.0, Box::new(|| ())));
        for _ in 0..10 {
            let turn = state.next().unwrap();
            state.done(&turn.model, turn.seconds, 0.05);
        }
        state.push(&names[1], 1.0, Box::new(|| ()));
        let next: Vec<_> = (0..2).map(|_| state.next().unwrap().model).collect();
        assert!(next.contains(&names[1]), "{next:?}");
    }

    #[test]
    fn each_model_has_places_of_its_own_and_what_came_first_goes_first() {
        let (turns, names) = (Arc::new(Turns::default()), NAMES.map(Arc::<str>::from));
        let held = turns.places(&names[0], 3, 4).unwrap();
        assert!(turns.places(&names[0], 2, 4).is_none());
        assert!(turns.places(&names[1], 4, 4).is_some());
        drop(held);
        assert!(turns.places(&names[0], 4, 4).is_some());
        let order = Arc::new(Mutex::new(Vec::new()));
        for n in 0..3 {
            let order = order.clone();
            turns.push(&names[0], 1.0, Box::new(move || order.lock().unwrap().push(n)));
        }
        (0..4).for_each(|_| turns.run_next(|| 0.0));
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    }
}
