//! Compares what a version sees now with its reference.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::histogram::{Distance, distance};
use super::reference::{ENOUGH, Reference, Sample};
use super::stats::InputStats;

/// More samples say no more, would take memory, and time to learn from.
const MAX_SAMPLES: usize = 10_000;

/// Distances by what was compared: `mean`, `std`, or `mean_0`, … by channel, and `class`.
pub type Distances = BTreeMap<String, Distance>;

/// How many samples are compared. Fewer than 100 or more than 10,000 are taken for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Samples to learn the reference from, where there is no file.
    pub reference: usize,
    /// Samples of the sliding window.
    pub window: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { reference: 1000, window: 1000 }
    }
}

/// Follows the inputs and predicted classes of one version. The caller samples; an observation
/// takes well under a microsecond once there is a reference.
pub struct Monitor {
    settings: Settings,
    state: Mutex<State>,
}

enum State {
    Learning(Vec<Sample>),
    Watching(Live),
}

struct Live {
    reference: Arc<Reference>,
    /// Counts by bin, in the order of [`Reference::counts`].
    counts: Vec<Vec<u64>>,
    window: VecDeque<Bins>,
}

/// Of one sample.
struct Bins {
    features: SmallVec<[u8; 6]>,
    classes: SmallVec<[u8; 1]>,
}

impl Monitor {
    /// Compares with `reference`, or learns one first.
    pub fn new(settings: Settings, reference: Option<Reference>) -> Monitor {
        let clamp = |n: usize| n.clamp(ENOUGH, MAX_SAMPLES);
        let Settings { reference: learn, window } = settings;
        let settings = Settings { reference: clamp(learn), window: clamp(window) };
        let state = match reference {
            Some(reference) => State::Watching(Live::new(reference)),
            None => State::Learning(Vec::new()),
        };
        Monitor { settings, state: Mutex::new(state) }
    }

    /// Takes an input and the classes predicted for it (none if it was no classification). One with
    /// other channels than the first is left out.
    pub fn observe(&self, stats: &InputStats, classes: &[u32]) {
        let mut state = self.lock();
        match &mut *state {
            State::Watching(live) => live.push(stats, classes, self.settings.window),
            State::Learning(samples) => {
                let channels = |s: &InputStats| s.spreads().len();
                if samples.first().is_none_or(|(s, _)| channels(s) == channels(stats)) {
                    samples.push((stats.clone(), classes.into()));
                }
                if samples.len() == self.settings.reference {
                    let reference = Reference::learn(samples);
                    *state = State::Watching(Live::new(reference));
                }
            }
        }
    }

    /// How far the window is from the reference; `None` until both have enough samples.
    pub fn distances(&self) -> Option<Distances> {
        let (reference, live) = match &*self.lock() {
            State::Watching(live) if live.window.len() >= ENOUGH => {
                (Arc::clone(&live.reference), live.counts.clone())
            }
            _ => return None,
        };
        let pairs = reference.counts().into_iter().zip(live);
        // Classes are missing on a side if the reference was made without the model.
        let known = |counts: &[u64]| counts.iter().sum::<u64>() >= ENOUGH as u64;
        let pairs = pairs.filter(|((_, reference), live)| known(reference) && known(live));
        Some(pairs.map(|((name, reference), live)| (name, distance(&reference, &live))).collect())
    }

    /// The reference, once there is one; to be kept as `drift.json`.
    pub fn reference(&self) -> Option<Arc<Reference>> {
        match &*self.lock() {
            State::Watching(live) => Some(Arc::clone(&live.reference)),
            State::Learning(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn new(reference: Reference) -> Live {
        let counts = reference.counts().into_iter().map(|(_, c)| vec![0; c.len()]).collect();
        Live { reference: Arc::new(reference), counts, window: VecDeque::new() }
    }

    fn push(&mut self, stats: &InputStats, classes: &[u32], window: usize) {
        let Some(features) = self.reference.bins(stats) else { return };
        if self.window.len() == window
            && let Some(oldest) = self.window.pop_front()
        {
            self.each(&oldest, |count| *count -= 1);
        }
        let classes = classes.iter().map(|c| self.reference.class_bin(*c)).collect();
        let bins = Bins { features, classes };
        self.each(&bins, |count| *count += 1);
        self.window.push_back(bins);
    }

    /// All counts that a sample is in.
    fn each(&mut self, sample: &Bins, change: impl Fn(&mut u64)) {
        let Some((classes, features)) = self.counts.split_last_mut() else { return };
        for (counts, bin) in features.iter_mut().zip(&sample.features) {
            change(&mut counts[usize::from(*bin)]);
        }
        sample.classes.iter().for_each(|bin| change(&mut classes[usize::from(*bin)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Repeats itself every 100 images; `offset` makes them brighter.
    fn feed(monitor: &Monitor, images: std::ops::Range<u32>, offset: f32, class: u32) {
        for i in images {
            let x = (i * 37 % 100) as f32 + offset;
            monitor.observe(&InputStats::of_f32(&[x, x, x + 1.0 + x / 50.0]), &[class + i % 10]);
        }
    }

    fn monitor(reference: usize, window: usize) -> Monitor {
        Monitor::new(Settings { reference, window }, None)
    }

    #[test]
    fn says_nothing_until_both_sides_have_enough() {
        let m = monitor(200, 1000);
        feed(&m, 0..199, 0.0, 0);
        assert!(m.reference().is_none());
        feed(&m, 0..1, 0.0, 0);
        assert_eq!(m.reference().unwrap().samples, 200);
        feed(&m, 0..99, 0.0, 0);
        assert_eq!(m.distances(), None);
        feed(&m, 99..100, 0.0, 0);
        assert_eq!(
            m.distances().unwrap().into_keys().collect::<Vec<_>>(),
            ["class", "mean", "std"]
        );
    }

    #[test]
    fn tells_what_drifted_and_forgets_it_when_it_is_over() {
        let m = monitor(1000, 500);
        feed(&m, 0..1500, 0.0, 0);
        let calm = m.distances().unwrap();
        assert!(calm.values().all(|d| d.psi < 0.01 && d.kl < 0.01), "{calm:?}");
        // Half of the images brighter, the classes as before.
        feed(&m, 0..250, 60.0, 0);
        let bright = m.distances().unwrap();
        assert!(bright["mean"].psi > 0.25 && bright["class"].psi < 0.01, "{bright:?}");
        // The same images, but other classes.
        feed(&m, 0..500, 0.0, 5);
        let classes = m.distances().unwrap();
        assert!(classes["mean"].psi < 0.01 && classes["class"].psi > 1.0, "{classes:?}");
        feed(&m, 0..500, 0.0, 0);
        assert_eq!(m.distances().unwrap(), calm);
    }

    #[test]
    fn a_reference_from_a_file_serves_at_once() {
        let learned = monitor(500, 500);
        feed(&learned, 0..1000, 0.0, 0);
        let json = learned.reference().unwrap().to_json().unwrap();
        let m = Monitor::new(Settings::default(), Reference::from_json(json.as_bytes()).ok());
        feed(&m, 0..500, 0.0, 0);
        assert_eq!(m.distances(), learned.distances());
    }

    #[test]
    fn inputs_that_became_no_numbers_are_drift() {
        let m = monitor(100, 100);
        feed(&m, 0..200, 0.0, 0);
        (0..50).for_each(|_| m.observe(&InputStats::of_f32(&[f32::NAN]), &[1]));
        assert!(m.distances().unwrap()["mean"].psi > 0.25);
    }

    #[test]
    fn without_classes_on_both_sides_they_are_not_compared_and_odd_channels_left_out() {
        let (m, plain) = (monitor(100, 100), monitor(100, 100));
        for i in 0..300 {
            m.observe(&InputStats::of_f32(&[i as f32]), &[]);
            plain.observe(&InputStats::of_f32(&[i as f32]), &[]);
            m.observe(&InputStats::of_planes(&[1.0, 2.0], 2), &[1]);
        }
        assert_eq!(m.reference(), plain.reference());
        assert_eq!(m.distances().unwrap().into_keys().collect::<Vec<_>>(), ["mean", "std"]);
    }

    proptest! {
        #[test]
        fn the_window_counts_the_last_samples_and_no_others(
            live in prop::collection::vec((-20f32..120.0, 0u32..70), 1..400),
        ) {
            let m = monitor(100, 150);
            feed(&m, 0..100, 0.0, 0);
            live.iter().for_each(|(x, c)| m.observe(&InputStats::of_f32(&[*x]), &[*c]));
            let fresh = Monitor::new(m.settings, m.reference().map(|r| (*r).clone()));
            let last = &live[live.len().saturating_sub(150)..];
            last.iter().for_each(|(x, c)| fresh.observe(&InputStats::of_f32(&[*x]), &[*c]));
            prop_assert_eq!(m.distances(), fresh.distances());
            let (State::Watching(a), State::Watching(b)) = (&*m.lock(), &*fresh.lock()) else {
                panic!("no reference")
            };
            prop_assert_eq!(&a.counts, &b.counts);
        }
    }
}
