//! Callers that wait until models are as they asked. The loop tells how each model came to
//! rest; who has heard of all of theirs is answered.

use std::collections::BTreeSet;

use super::commands::Caller;
use crate::error::InferError;

/// For callers that the outcome of any round will do for.
pub const ANY_ROUND: u64 = u64::MAX;

/// Those who wait.
#[derive(Default)]
pub struct Waiting(Vec<Waiter>);

struct Waiter {
    /// Models not heard of yet.
    open: BTreeSet<String>,
    failures: Vec<InferError>,
    /// The first round that saw the files as the caller left them.
    from: u64,
    caller: Caller,
}

impl Waiting {
    /// Answers `caller` once all of `models` have come to rest in the round `from` or later.
    pub fn add(&mut self, models: BTreeSet<String>, from: u64, caller: Caller) {
        if models.is_empty() {
            caller.tell(Ok(()));
        } else {
            self.0.push(Waiter { open: models, failures: Vec::new(), from, caller });
        }
    }

    /// Whether somebody waits for this model.
    pub fn waits_for(&self, model: &str) -> bool {
        self.0.iter().any(|w| w.open.contains(model))
    }

    /// The models somebody waits for.
    pub fn models(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|w| &w.open).cloned().collect()
    }

    /// How a model came to rest in a round.
    pub fn tell(&mut self, model: &str, round: u64, outcome: &Result<(), InferError>) {
        for waiter in self.0.iter_mut().filter(|w| w.from <= round) {
            if waiter.open.remove(model)
                && let Err(error) = outcome
            {
                waiter.failures.push(error.clone());
            }
        }
        for done in self.0.extract_if(.., |w| w.open.is_empty()) {
            done.caller.tell(joined(done.failures));
        }
    }

    /// Drops those that went away.
    pub fn forget_gone(&mut self) {
        self.0.retain(|w| !w.caller.is_gone());
    }
}

fn joined(mut failures: Vec<InferError>) -> Result<(), InferError> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let told: Vec<_> = failures.iter().map(ToString::to_string).collect();
            Err(InferError::Conflict(told.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::commands::tests::caller;

    fn names(models: &[&str]) -> BTreeSet<String> {
        models.iter().map(|m| (*m).to_owned()).collect()
    }

    fn failed(what: &str) -> Result<(), InferError> {
        Err(InferError::Conflict(what.to_owned()))
    }

    #[test]
    fn is_told_when_the_last_model_has_come_to_rest_in_a_round_that_counts() {
        let mut waiting = Waiting::default();
        let (one, mut told) = caller();
        let (other, mut also_told) = caller();
        waiting.add(names(&["a", "b"]), 2, one);
        waiting.add(names(&["a"]), 3, other);
        waiting.tell("a", 1, &Ok(()));
        waiting.tell("a", 2, &Ok(()));
        waiting.tell("c", 2, &failed("c"));
        assert!(told.try_recv().is_err());
        assert_eq!(waiting.models(), names(&["a", "b"]));
        waiting.tell("b", 2, &Ok(()));
        assert!(told.try_recv().unwrap().is_ok());
        assert!(waiting.waits_for("a") && !waiting.waits_for("b"));
        waiting.tell("a", ANY_ROUND, &failed("gone"));
        assert_eq!(also_told.try_recv().unwrap().unwrap_err().to_string(), "gone");
    }

    #[test]
    fn is_told_of_all_that_failed_and_at_once_of_nothing() {
        let mut waiting = Waiting::default();
        let (one, mut told) = caller();
        waiting.add(names(&["a", "b", "c"]), 1, one);
        waiting.tell("a", 1, &failed("a broke"));
        waiting.tell("b", 1, &Ok(()));
        waiting.tell("c", 1, &failed("c broke"));
        let error = told.try_recv().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "a broke; c broke");
        let (nobody, mut told) = caller();
        waiting.add(BTreeSet::new(), 1, nobody);
        assert!(told.try_recv().unwrap().is_ok());
    }

    #[test]
    fn who_went_away_is_forgotten() {
        let mut waiting = Waiting::default();
        let (one, told) = caller();
        waiting.add(names(&["a"]), 1, one);
        waiting.forget_gone();
        assert!(waiting.waits_for("a"));
        drop(told);
        waiting.forget_gone();
        assert!(!waiting.waits_for("a"));
    }
}
