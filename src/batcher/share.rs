//! Whose turn it is among models: start-time fair queueing over seconds of compute (Goyal, Vin, Cheng 1996).
//! Pure.
//!
//! Each model has a tag, the virtual time at which its next batch starts. Who has the least goes next, and
//! moves on by what its batch costs divided by its weight. A model that had nothing to do starts from where
//! the others are: it saves nothing up.

use std::collections::HashMap;
use std::sync::Arc;

/// The tags of all models.
#[derive(Debug, Default)]
pub struct Shares {
    models: HashMap<Arc<str>, Share>,
    /// The tag of the batch that was started last.
    now: f64,
}

/// A model's.
#[derive(Debug)]
pub struct Share {
    tag: f64,
    weight: f64,
    queues: usize,
    waiting: usize,
}

impl Shares {
    /// A queue more for a model, with the weight that now holds.
    pub fn join(&mut self, model: &Arc<str>, weight: f64) {
        self.weigh(model, weight).queues += 1;
    }

    /// The weight that now holds for a model. One that is new starts from where the others are.
    pub fn weigh(&mut self, model: &Arc<str>, weight: f64) -> &mut Share {
        let now = self.now;
        let new = || Share { tag: now, weight, queues: 0, waiting: 0 };
        let share = self.models.entry(model.clone()).or_insert_with(new);
        share.weight = weight;
        share
    }

    /// A queue less, with all the rows that waited in it.
    pub fn leave(&mut self, model: &str, rows: usize) {
        self.took(model, rows);
        let Some(share) = self.models.get_mut(model) else { return };
        share.queues -= 1;
        if share.queues == 0 {
            self.models.remove(model);
        }
    }

    /// Rows more wait.
    pub fn wait(&mut self, model: &str, rows: usize) {
        let Some(share) = self.models.get_mut(model) else { return };
        if share.waiting == 0 {
            share.tag = share.tag.max(self.now);
        }
        share.waiting += rows;
    }

    /// Rows no longer wait, because they run or because nobody wants them.
    pub fn took(&mut self, model: &str, rows: usize) {
        if let Some(share) = self.models.get_mut(model) {
            share.waiting -= rows;
        }
    }

    /// When the model's next batch starts, in virtual time. Less goes first.
    pub fn tag(&self, model: &str) -> f64 {
        self.models.get(model).map_or(f64::INFINITY, |s| s.tag)
    }

    /// A batch starts that should take so long.
    pub fn start(&mut self, model: &str, seconds: f64) {
        let Some(share) = self.models.get_mut(model) else { return };
        self.now = self.now.max(share.tag);
        share.tag += seconds / share.weight;
    }

    /// It took so much longer than expected, or shorter.
    pub fn settle(&mut self, model: &str, seconds: f64) {
        if let Some(share) = self.models.get_mut(model) {
            share.tag += seconds / share.weight;
        }
    }

    /// For each second of the model, the seconds that others get while all have work.
    pub fn others(&self, model: &str) -> f64 {
        let weight = self.models.get(model).map_or(1.0, |s| s.weight);
        let busy = self.models.iter().filter(|(name, s)| &***name != model && s.waiting > 0);
        busy.map(|(_, s)| s.weight).sum::<f64>() / weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shared_by_weight_however_long_the_batches_are() {
        let (mut shares, mut got) = (Shares::default(), [0.0; 2]);
        let names: [Arc<str>; 2] = ["heavy".into(), "light".into()];
        shares.join(&names[0], 1.0);
        shares.join(&names[1], 3.0);
        names.iter().for_each(|n| shares.wait(n, 1_000_000));
        for _ in 0..10_000 {
            let next = usize::from(shares.tag("light") < shares.tag("heavy"));
            // The heavy one's batches take longer than was thought.
            let (thought, takes) = [(0.08, 0.1), (0.002, 0.002)][next];
            shares.start(&names[next], thought);
            shares.settle(&names[next], takes - thought);
            got[next] += takes;
        }
        assert!((got[1] / got[0] - 3.0).abs() < 0.1, "{got:?}");
        assert_eq!(shares.others("light"), 1.0 / 3.0);
    }

    #[test]
    fn idleness_saves_nothing_up() {
        let mut shares = Shares::default();
        let names: [Arc<str>; 2] = ["busy".into(), "late".into()];
        names.iter().for_each(|n| shares.join(n, 1.0));
        shares.wait("busy", 10);
        (0..10).for_each(|_| shares.start("busy", 1.0));
        shares.wait("late", 5);
        // It goes first, and once, not ten times.
        assert!(shares.tag("late") < shares.tag("busy"));
        shares.start("late", 1.5);
        assert!(shares.tag("late") > shares.tag("busy"));
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut shares = Shares::default();
        let name: Arc<str> = "m".into();
        shares.join(&name, 2.0);
        shares.join(&name, 1.0);
        shares.wait("m", 4);
        shares.leave("m", 4);
        assert_eq!(shares.tag("m"), 0.0);
        shares.leave("m", 0);
        assert_eq!(shares.tag("m"), f64::INFINITY);
    }
}
