//! Which settings are measured, in which order. Pure but for the rig it asks.
//!
//! All of them would take hours: five dimensions, and a minute each. But they matter one after another. How
//! fast the engine is and how its threads are split bounds everything else, and can be seen without a load;
//! batching only trades that for waiting. So the pairs of engine and split are timed raw, the best of them
//! are measured under load, and from the best of those the batching is changed one thing at a time as long
//! as it helps.

use std::time::Duration;

use super::setting::{Capacity, Setting};
use crate::batcher::{Rule, Slo};

/// Pairs of engine and split that are worth a load.
const KEPT: usize = 3;

/// A step must be better by so much; less is noise.
const WORTH: f64 = 1.02;

/// What measures.
pub trait Rig {
    /// Why it can't.
    type Error;

    /// Seconds of a batch of so many rows while all instances are busy.
    fn exec(&mut self, setting: &Setting, rows: usize) -> Result<f64, Self::Error>;

    /// The most requests a second at which the objective is kept.
    fn capacity(&mut self, setting: &Setting) -> Result<Capacity, Self::Error>;
}

/// A setting and what it can do.
pub type Measured = (Setting, Capacity);

/// What was found.
#[derive(Debug)]
pub struct Tuned {
    /// Rows a second of each pair of engine and split, without a load, in batches that fit the objective.
    pub raw: Vec<(Setting, f64)>,
    /// All that were measured under load, in their order; the first is the one that holds now.
    pub measured: Vec<Measured>,
    /// The index of the best.
    pub best: usize,
}

impl Tuned {
    /// The least that one of the settings could do.
    pub fn worst(&self) -> Option<&Measured> {
        self.measured.iter().min_by(|a, b| a.1.rate.total_cmp(&b.1.rate))
    }
}

/// Looks for the best setting. `now` holds at present, `pairs` are all engines and splits that may be taken,
/// with the batching that is tried first, and no batch has more than `largest` rows.
pub fn search<R: Rig>(
    rig: &mut R,
    now: &Setting,
    pairs: &[Setting],
    slo: Slo,
    largest: usize,
) -> Result<Tuned, R::Error> {
    let mut raw = Vec::new();
    for pair in pairs {
        raw.push((pair.clone(), raw_rate(rig, pair, slo)?));
    }
    raw.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut tuned = Tuned { raw, measured: Vec::new(), best: 0 };
    tuned.measure(rig, now)?;
    let kept: Vec<_> = tuned.raw.iter().take(KEPT).map(|(pair, _)| pair.clone()).collect();
    for pair in &kept {
        tuned.measure(rig, pair)?;
    }
    // The other end, so that a person sees what a wrong choice costs.
    if let Some((last, _)) = tuned.raw.last().cloned() {
        tuned.measure(rig, &Setting { max_batch: 1, rule: Rule::All, ..last })?;
    }
    loop {
        let before = tuned.best;
        for step in steps(rig, &tuned.measured[before].0, slo, largest)? {
            tuned.measure(rig, &step)?;
        }
        if tuned.best == before {
            return Ok(tuned);
        }
    }
}

/// Measures two settings again, in turn: who won among many may have been lucky. The second's rates as parts
/// of the first's, one a round, the least first; infinite where the first could do nothing.
pub fn confirm<R: Rig>(
    rig: &mut R,
    first: &Setting,
    second: &Setting,
    rounds: usize,
) -> Result<Vec<f64>, R::Error> {
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let base = rig.capacity(first)?.rate;
        let rate = rig.capacity(second)?.rate;
        // More than nothing is infinitely more, and nothing is no more.
        ratios.push(if rate > 0.0 { rate / base } else { 0.0 });
    }
    ratios.sort_unstable_by(f64::total_cmp);
    Ok(ratios)
}

impl Tuned {
    fn measure<R: Rig>(&mut self, rig: &mut R, setting: &Setting) -> Result<(), R::Error> {
        if self.measured.iter().any(|(known, _)| known == setting) {
            return Ok(());
        }
        let capacity = rig.capacity(setting)?;
        let bar = self.measured.get(self.best).map(|(_, best)| best.rate * WORTH);
        if bar.is_some_and(|bar| capacity.rate > bar) {
            self.best = self.measured.len();
        }
        self.measured.push((setting.clone(), capacity));
        Ok(())
    }
}

/// Rows a second in the batch that does most and is computed within half the objective: who comes just when
/// one was started waits for it and for the own one.
fn raw_rate<R: Rig>(rig: &mut R, pair: &Setting, slo: Slo) -> Result<f64, R::Error> {
    let mut best = 0.0_f64;
    for rows in [1, pair.max_batch] {
        let seconds = rig.exec(pair, rows)?;
        if rows == 1 || seconds <= slo.within.as_secs_f64() / 2.0 {
            best = best.max((pair.instances * rows) as f64 / seconds);
        }
    }
    Ok(best)
}

/// What differs from a setting in one thing of its batching.
fn steps<R: Rig>(
    rig: &mut R,
    from: &Setting,
    slo: Slo,
    largest: usize,
) -> Result<Vec<Setting>, R::Error> {
    let mut steps = Vec::new();
    let other = match from.rule {
        Rule::Tuned => Rule::All,
        Rule::All => Rule::Tuned,
    };
    steps.push(Setting { rule: other, ..from.clone() });
    for max_batch in [from.max_batch / 4, from.max_batch * 4] {
        let fits = |rig: &mut R| Ok(rig.exec(from, max_batch)? <= slo.within.as_secs_f64() / 2.0);
        if (1..=largest).contains(&max_batch) && (max_batch < from.max_batch || fits(rig)?) {
            steps.push(Setting { max_batch, ..from.clone() });
        }
    }
    // Holding a batch back pays, if at all, when it is short against the time there is.
    for part in [0.0, 0.02, 0.1] {
        let delay = Duration::from_micros((slo.within.as_micros() as f64 * part) as u64);
        if delay != from.delay && from.max_batch > 1 {
            steps.push(Setting { delay, ..from.clone() });
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Precision;

    const SLO: Slo = Slo { share: 0.99, within: Duration::from_millis(50) };

    /// A machine whose best setting is known.
    struct Model {
        asked: usize,
    }

    impl Rig for Model {
        type Error = std::convert::Infallible;

        fn exec(&mut self, s: &Setting, rows: usize) -> Result<f64, Self::Error> {
            let (fixed, row) = if s.engine == "fast" { (0.002, 0.0001) } else { (0.001, 0.004) };
            let speedup = 1.0 + 0.6 * (s.threads - 1) as f64;
            Ok((fixed + row * rows as f64) / speedup)
        }

        fn capacity(&mut self, s: &Setting) -> Result<Capacity, Self::Error> {
            self.asked += 1;
            let full = self.exec(s, s.max_batch)?;
            let lost = 1.0 - 3.0 * (s.delay.as_secs_f64() + full) / SLO.within.as_secs_f64();
            let rate = s.instances as f64 * s.max_batch as f64 / full * lost.max(0.0);
            Ok(Capacity { rate, points: Vec::new() })
        }
    }

    fn setting(engine: &'static str, instances: usize, threads: usize) -> Setting {
        Setting {
            engine,
            precision: Precision::F32,
            instances,
            threads,
            rule: Rule::Tuned,
            max_batch: 8,
            delay: Duration::ZERO,
        }
    }

    #[test]
    fn finds_the_engine_the_split_and_the_batch() {
        let now = setting("slow", 2, 1);
        let of = |engine| [(2, 1), (1, 2)].map(|(i, t)| setting(engine, i, t));
        let pairs = [of("slow"), of("fast")].concat();
        let mut rig = Model { asked: 0 };
        let tuned = search(&mut rig, &now, &pairs, SLO, 64).unwrap();
        let (best, capacity) = &tuned.measured[tuned.best];
        assert_eq!(*best, Setting { max_batch: 32, ..setting("fast", 2, 1) });
        assert!(capacity.rate > 5.0 * tuned.measured[0].1.rate, "{capacity:?}");
        assert_eq!(tuned.measured[0].0, now);
        assert_eq!(tuned.worst().unwrap().0.engine, "slow");
        assert!(rig.asked < 20, "{} settings were measured", rig.asked);
        assert_eq!(rig.asked, tuned.measured.len());
    }

    #[test]
    fn what_is_no_better_leaves_all_as_it_is() {
        let now = Setting { max_batch: 32, ..setting("fast", 2, 1) };
        let tuned =
            search(&mut Model { asked: 0 }, &now, std::slice::from_ref(&now), SLO, 64).unwrap();
        assert_eq!(tuned.best, 0);
    }
}
