//! Room for models that are loaded on demand: which ones go, so that another may come.
//!
//! Memory is counted in bytes of files: what a model takes beside its weights depends on the engine and on
//! what is sent to it, and is not known before it has run.

use std::time::{Duration, Instant};

use super::rounds::Loop;
use super::scan::Fingerprint;
use super::versions::{ModelLoop, Out};
use crate::error::InferError;
use crate::router::ServedVersion;

/// When a model was last seen in use. Requests write nothing for it: the loop reads their counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    requests: u64,
    at: Option<Instant>,
    loaded: Option<Instant>,
}

/// How long a model stays at the least: who had it loaded has yet to send a request, and two that both are wanted
/// all the time are not to be loaded all the time.
const STAY: Duration = Duration::from_secs(1);

impl Used {
    /// It was loaded, and is about to be used.
    pub fn loaded(&mut self) {
        let now = Some(Instant::now());
        (self.at, self.loaded) = (now, now);
    }

    fn may_go(&self) -> bool {
        self.loaded.is_none_or(|at| at.elapsed() > STAY)
    }
}

/// A model that is loaded.
#[derive(Clone, Debug, PartialEq)]
struct Resident {
    name: String,
    bytes: u64,
    /// When it was used last, if it may go.
    idle: Option<Option<Instant>>,
}

/// Who goes so that `needs` more bytes fit, the one that was not used for longest first; or how many bytes
/// are in use that can't go.
fn leaving(residents: &[Resident], needs: u64, budget: u64) -> Result<Vec<String>, u64> {
    let mut used: u64 = residents.iter().map(|r| r.bytes).sum();
    let mut idle: Vec<_> = residents.iter().filter(|r| r.idle.is_some()).collect();
    idle.sort_by_key(|r| r.idle);
    let mut leave = Vec::new();
    for resident in idle {
        if used.saturating_add(needs) <= budget {
            break;
        }
        used -= resident.bytes;
        leave.push(resident.name.clone());
    }
    if used.saturating_add(needs) <= budget { Ok(leave) } else { Err(used) }
}

impl Loop {
    /// Sees which models are in use.
    pub fn note_use(&mut self) {
        let now = Instant::now();
        for model in self.models.values_mut() {
            let requests = model.loaded.versions.values().map(|v| requests(v)).sum();
            if requests != model.used.requests || in_flight(model) > 0 {
                model.used = Used { requests, at: Some(now), ..model.used };
            }
        }
    }

    /// Takes idle models out of service, until the files of one that is loaded on demand fit beside what is
    /// loaded.
    pub fn make_room(&mut self, name: &str, files: &Fingerprint) -> Result<(), InferError> {
        let (needs, budget) = (files.bytes(), self.settings.model_memory_bytes);
        let resident = |(other, model): (&String, &ModelLoop)| {
            let serving = model.known.values().filter_map(|known| known.serving.as_ref());
            let bytes = serving.map(Fingerprint::bytes).sum();
            let may_go = other != name
                && self.orders.is_demanded(other)
                && model.loaded.on_demand
                && !self.waiting.waits_for(other)
                && !self.publisher.rolls_out(other)
                && model.used.may_go()
                && in_flight(model) == 0;
            Resident { name: other.clone(), bytes, idle: may_go.then_some(model.used.at) }
        };
        let residents: Vec<_> =
            self.models.iter().map(resident).filter(|resident| resident.bytes > 0).collect();
        let leave = leaving(&residents, needs, budget);
        let leave = leave.map_err(|used| {
            let model = name.to_owned();
            InferError::NoRoom { model, needs, used, budget }
        })?;
        for other in leave {
            tracing::info!(model = other, makes_room_for = name, "idle, and taken out of service");
            self.orders.put_by(&other);
            let on_disk = self.models.get(&other).map(|m| m.known.keys().copied().collect());
            self.take_out(&other, Out::NoDemand, &on_disk.unwrap_or_default());
        }
        // What nobody holds is freed before the next is read.
        self.drop_drained();
        Ok(())
    }
}

fn requests(version: &ServedVersion) -> u64 {
    let stats = &version.queue.target().metrics.stats;
    stats.success.read().0 + stats.fail.read().0
}

fn in_flight(model: &ModelLoop) -> i64 {
    let of = |version: &std::sync::Arc<ServedVersion>| version.queue.target().metrics.in_flight();
    model.loaded.versions.values().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(name: &str, bytes: u64, idle: Option<Option<u64>>) -> Resident {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        Resident { name: name.to_owned(), bytes, idle: idle.map(|used| used.map(at)) }
    }

    #[test]
    fn the_idle_one_that_was_not_used_for_longest_goes_first_and_no_more_than_must() {
        let residents = [
            resident("stays", 50, None),
            resident("late", 20, Some(Some(9))),
            resident("early", 20, Some(Some(3))),
            resident("never", 5, Some(None)),
        ];
        let leave = |needs| leaving(&residents, needs, 100);
        assert_eq!(leave(5), Ok(vec![]));
        assert_eq!(leave(10), Ok(vec!["never".to_owned()]));
        assert_eq!(leave(25), Ok(["never", "early"].map(str::to_owned).to_vec()));
        assert_eq!(leave(50), Ok(["never", "early", "late"].map(str::to_owned).to_vec()));
        assert_eq!(leave(51), Err(50));
        assert_eq!(leaving(&residents, u64::MAX, 100), Err(50));
        assert_eq!(leaving(&residents, 1000, u64::MAX), Ok(vec![]));
        assert_eq!(leaving(&[], u64::MAX, u64::MAX), Ok(vec![]));
    }
}
