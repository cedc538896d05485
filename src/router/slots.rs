//! Who has which part of the traffic: 10,000 slots, each a version's. Pure.
//!
//! A request falls on a slot by chance or by the hash of its sticky key. A change of weights hands
//! over just the slots that must change hands, so it moves the fewest users there can be: an arm that
//! grows keeps all it had.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Slots in all: weights are basis points.
pub const SLOTS: u32 = 10_000;

/// Runs of slots, ascending, that together are all slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Run>", into = "Vec<Run>")]
pub struct Slots {
    runs: Vec<Run>,
}

/// Slots from the end of the run before, up to `end`, are the version's. `[version, end]` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32)", into = "(u64, u32)")]
struct Run {
    version: u64,
    end: u32,
}

/// Why weights make no split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotsError {
    /// The weights are no shares of the whole.
    #[error("weights are basis points and must sum to {SLOTS}; these sum to {0}")]
    Sum(u64),
    /// Runs that can't be.
    #[error("slots must ascend up to {SLOTS}")]
    Runs,
}

impl From<(u64, u32)> for Run {
    fn from((version, end): (u64, u32)) -> Run {
        Run { version, end }
    }
}

impl From<Run> for (u64, u32) {
    fn from(run: Run) -> (u64, u32) {
        (run.version, run.end)
    }
}

impl From<Slots> for Vec<Run> {
    fn from(slots: Slots) -> Vec<Run> {
        slots.runs
    }
}

impl TryFrom<Vec<Run>> for Slots {
    type Error = SlotsError;

    fn try_from(runs: Vec<Run>) -> Result<Slots, SlotsError> {
        let ascending = runs.windows(2).all(|w| w[0].end < w[1].end);
        let whole = runs.last().is_some_and(|r| r.end == SLOTS);
        let first = runs.first().is_some_and(|r| r.end > 0);
        if ascending && whole && first { Ok(Slots { runs }) } else { Err(SlotsError::Runs) }
    }
}

impl Slots {
    /// All to one version.
    pub fn all(version: u64) -> Slots {
        Slots { runs: vec![Run { version, end: SLOTS }] }
    }

    /// The split by `weights` that is nearest to `before`. Weights sum to [`SLOTS`].
    pub fn new(weights: &BTreeMap<u64, u32>, before: Option<&Slots>) -> Result<Slots, SlotsError> {
        let sum: u64 = weights.values().map(|w| u64::from(*w)).sum();
        if sum != u64::from(SLOTS) {
            return Err(SlotsError::Sum(sum));
        }
        let mut room = weights.clone();
        // Each keeps what it had as far as it still may, the lower slots first: what a shrinking arm
        // gives up lies together.
        let mut kept: Vec<(Option<u64>, u32)> = Vec::new();
        let fresh = [Run { version: 0, end: SLOTS }];
        let mut start = 0;
        for run in before.map_or(&fresh[..], |b| &b.runs) {
            let len = run.end - start;
            start = run.end;
            let may = room.entry(run.version).or_default();
            let keeps = len.min(*may);
            *may -= keeps;
            kept.push((Some(run.version), keeps));
            kept.push((None, len - keeps));
        }
        let mut hungry = room.into_iter().filter(|(_, n)| *n > 0).peekable();
        let mut runs: Vec<Run> = Vec::new();
        let mut push = |version: u64, len: u32| {
            let end = runs.last().map_or(0, |r| r.end) + len;
            match runs.last_mut() {
                Some(last) if last.version == version => last.end = end,
                _ if len > 0 => runs.push(Run { version, end }),
                _ => {}
            }
        };
        for (owner, mut len) in kept {
            if let Some(version) = owner {
                push(version, len);
                continue;
            }
            while len > 0
                && let Some((version, wants)) = hungry.peek_mut()
            {
                let takes = len.min(*wants);
                push(*version, takes);
                *wants -= takes;
                len -= takes;
                if *wants == 0 {
                    hungry.next();
                }
            }
        }
        Ok(Slots { runs })
    }

    /// The slots of a part of the versions, which take over those of the others in proportion.
    pub fn without(&self, gone: impl Fn(u64) -> bool) -> Option<Slots> {
        let left: Vec<_> = self.weights().into_iter().filter(|(v, _)| !gone(*v)).collect();
        Slots::new(&normalise(&left)?, Some(self)).ok()
    }

    /// Whose `point` is, uniform over all of `u64`.
    pub fn pick(&self, point: u64) -> u64 {
        // The high half of the product scales `point` to the slots without a division.
        let slot = ((u128::from(point) * u128::from(SLOTS)) >> 64) as u32;
        let run = self.runs.partition_point(|r| r.end <= slot);
        self.runs[run.min(self.runs.len() - 1)].version
    }

    /// Slots by version.
    pub fn weights(&self) -> BTreeMap<u64, u32> {
        let mut weights = BTreeMap::new();
        let mut start = 0;
        for run in &self.runs {
            *weights.entry(run.version).or_default() += run.end - start;
            start = run.end;
        }
        weights
    }
}

/// Weights of any sum as basis points, by the largest remainders; `None` if there is no weight.
pub fn normalise(weights: &[(u64, u32)]) -> Option<BTreeMap<u64, u32>> {
    let total: u64 = weights.iter().map(|(_, w)| u64::from(*w)).sum();
    if total == 0 {
        return None;
    }
    let scaled = |w: u32| u64::from(w) * u64::from(SLOTS);
    let mut parts: Vec<(u64, u32, u64)> = weights
        .iter()
        .map(|(v, w)| (*v, (scaled(*w) / total) as u32, scaled(*w) % total))
        .collect();
    let given: u32 = parts.iter().map(|p| p.1).sum();
    parts.sort_by_key(|(version, _, rest)| (std::cmp::Reverse(*rest), *version));
    let short = (SLOTS - given) as usize;
    parts.iter_mut().take(short).for_each(|p| p.1 += 1);
    Some(parts.into_iter().filter(|p| p.1 > 0).map(|(v, w, _)| (v, w)).collect())
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
