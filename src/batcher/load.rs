//! What is asked of this process, as part of what it can do: the signal to scale by. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// How far back work counts: what came that long ago counts a third of what comes now.
pub const MEMORY: Duration = Duration::from_secs(5);
/// Within so many seconds what waits should be done.
pub const HORIZON: f64 = 1.0;

/// Seconds of work a second, by where they go. A row counts what it takes in a full batch, so that small
/// batches, which is what an idle thread runs, are not taken for load. An image counts the CPU time that its
/// decoding takes, of CPUs that compute needs too.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Offered {
    /// Taken on by a compute thread, and decoded.
    pub served: f64,
    /// Waiting now, for a decoder or a compute thread, as if it were all to be done within a second.
    pub queued: f64,
    /// Turned away because there was no room or not enough time.
    pub refused: f64,
}

impl Offered {
    /// All of it.
    pub fn total(self) -> f64 {
        self.served + self.queued + self.refused
    }

    /// With that of another.
    pub fn and(self, other: Offered) -> Offered {
        Offered {
            served: self.served + other.served,
            queued: self.queued + other.queued,
            refused: self.refused + other.refused,
        }
    }

    fn over(self, threads: f64) -> Offered {
        Offered {
            served: self.served / threads,
            queued: self.queued / threads,
            refused: self.refused / threads,
        }
    }
}

/// What is asked of the process.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Compute threads: so many seconds of work can be done in a second.
    pub threads: usize,
    /// By model, in alphabetical order.
    pub models: Vec<ModelLoad>,
}

/// What is asked of a model.
#[derive(Clone, Debug)]
pub struct ModelLoad {
    /// Its name.
    pub model: String,
    /// As parts of what all compute threads can do.
    pub parts: Offered,
}

impl LoadReport {
    /// Of what is asked of each version of a model.
    pub fn new<'a>(
        threads: usize,
        versions: impl Iterator<Item = (&'a str, Offered)>,
    ) -> LoadReport {
        let mut models: BTreeMap<&str, Offered> = BTreeMap::new();
        for (model, offered) in versions {
            let sum = models.entry(model).or_default();
            *sum = sum.and(offered);
        }
        let capacity = threads.max(1) as f64;
        let of = |(model, offered): (&str, Offered)| ModelLoad {
            model: model.to_owned(),
            parts: offered.over(capacity),
        };
        LoadReport { threads, models: models.into_iter().map(of).collect() }
    }

    /// As parts of what all compute threads can do.
    pub fn parts(&self) -> Offered {
        self.models.iter().fold(Offered::default(), |sum, m| sum.and(m.parts))
    }

    /// What is asked as part of what can be done: 1 is all of it, and there may be more.
    pub fn load(&self) -> f64 {
        self.parts().total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_add_up_to_models_and_models_to_the_process() {
        let of = |served, queued, refused| Offered { served, queued, refused };
        let versions =
            [("b", of(0.5, 0.0, 0.0)), ("a", of(1.0, 0.5, 0.0)), ("b", of(0.1, 0.0, 0.4))];
        let report = LoadReport::new(2, versions.into_iter());
        let models: Vec<_> = report.models.iter().map(|m| (&*m.model, m.parts.total())).collect();
        assert_eq!(models, [("a", 0.75), ("b", 0.5)]);
        assert_eq!((report.load(), report.parts().refused), (1.25, 0.2));
        assert_eq!(LoadReport::new(2, std::iter::empty()).load(), 0.0);
    }
}
