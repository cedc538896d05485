//! What may be asked of the control loop while it runs: load, unload, serve this list.
//!
//! Protocol doors hold [`Commands`]. It passes on what is asked over the channel that wakes the
//! loop, and waits for the answer; it decides nothing. No request waits for a command, but one whose model is
//! loaded on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::spec::VersionPolicy;
use crate::error::InferError;

/// Commands that may wait; more are refused.
const WAITING: usize = 64;

/// What wakes the loop.
pub(super) enum Wake {
    /// Files changed.
    Changed,
    /// Somebody asks for something.
    Command(Command),
    /// It is to end.
    Stop,
}

/// Something asked, and who asks.
pub(super) struct Command {
    pub ask: Ask,
    pub caller: Caller,
}

/// See the methods of [`Commands`].
pub(super) enum Ask {
    Load(String),
    /// A request needs it.
    Bring(String),
    Unload(String),
    Configure(Vec<ModelConfig>),
}

/// Who waits for an answer. Dropped without one, it hears that the server is stopping.
pub(super) struct Caller {
    answer: oneshot::Sender<Result<(), InferError>>,
    place: OwnedSemaphorePermit,
}

/// A model of the list that [`Commands::configure`] takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelConfig {
    /// Its name in the repository.
    pub name: String,
    /// Its directory, if the caller says so: no other than the repository's own is taken.
    pub base_path: String,
    /// Which versions to serve; without it, those that `model.toml` says.
    pub versions: Option<VersionPolicy>,
    /// Names for versions; those of `model.toml` don't hold beside them.
    pub labels: BTreeMap<String, u64>,
}

/// Asks the control loop to change what is served. An answer takes as long as loading does: the
/// caller sets the deadline, and is forgotten when it goes away. What it asked for still holds.
#[derive(Clone)]
pub struct Commands {
    wake: mpsc::Sender<Wake>,
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<HashMap<String, Asked>>>,
}

/// What several requests wait for, as long as one of them does.
type Asked = WeakShared<BoxFuture<'static, Result<(), InferError>>>;

impl Commands {
    pub(super) fn new(wake: mpsc::Sender<Wake>) -> Commands {
        Commands { wake, places: Arc::new(Semaphore::new(WAITING)), under_way: Arc::default() }
    }

    /// Takes an unloaded model into service, or looks again at one that is in it: for changed
    /// files, and to retry what failed. `Ok` once every wanted version is available, else the
    /// reason of the newest that isn't; what was served before then goes on.
    pub async fn load(&self, model: &str) -> Result<(), InferError> {
        self.ask(Ask::Load(model.to_owned())).await
    }

    /// Has a model loaded that is loaded on demand, for a request that needs it. As many as need it at a time
    /// ask once.
    pub async fn bring(&self, model: &str) -> Result<(), InferError> {
        let asked = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            // One that nobody waits for any more is gone, and one that is done says how it was then.
            let asked = under_way.get(model).and_then(WeakShared::upgrade);
            asked.filter(|asked| asked.peek().is_none()).unwrap_or_else(|| {
                let (this, name) = (self.clone(), model.to_owned());
                let ask = async move { this.ask(Ask::Bring(name)).await };
                let asked = ask.boxed().shared();
                under_way.retain(|_, asked| asked.upgrade().is_some());
                under_way.extend(asked.downgrade().map(|asked| (model.to_owned(), asked)));
                asked
            })
        };
        asked.await
    }

    /// Takes a model out of service until it is asked for again. `Ok` once no request is routed
    /// to it; those in flight finish.
    pub async fn unload(&self, model: &str) -> Result<(), InferError> {
        self.ask(Ask::Unload(model.to_owned())).await
    }

    /// Serves these models and no others, until the next list or the end of the process. A list
    /// with a mistake changes nothing. `Ok` once all are available, else what failed; the rest
    /// serves.
    pub async fn configure(&self, models: Vec<ModelConfig>) -> Result<(), InferError> {
        self.ask(Ask::Configure(models)).await
    }

    async fn ask(&self, ask: Ask) -> Result<(), InferError> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| InferError::CommandsFull(WAITING))?;
        let (answer, told) = oneshot::channel();
        let command = Command { ask, caller: Caller { answer, place } };
        self.wake.send(Wake::Command(command)).map_err(|_| InferError::ShuttingDown)?;
        told.await.unwrap_or(Err(InferError::ShuttingDown))
    }
}

impl Caller {
    /// Answers.
    pub fn tell(self, outcome: Result<(), InferError>) {
        // First, so that who hears the answer finds the place free.
        drop(self.place);
        // Who went away meanwhile has nothing to hear.
        drop(self.answer.send(outcome));
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::Code;

    /// A caller, and what it is told.
    pub fn caller() -> (Caller, oneshot::Receiver<Result<(), InferError>>) {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (answer, told) = oneshot::channel();
        (Caller { answer, place }, told)
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused_and_a_loop_that_ended_is_told() {
        let (wake, heard) = mpsc::channel();
        let commands = Commands::new(wake);
        let asking: Vec<_> = (0..WAITING)
            .map(|_| {
                let commands = commands.clone();
                tokio::spawn(async move { commands.load("m").await })
            })
            .collect();
        while commands.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = commands.unload("m").await.unwrap_err();
        assert!(matches!(refused, InferError::CommandsFull(WAITING)));
        assert_eq!(refused.code(), Code::Unavailable);
        // One answer makes one place.
        if let Ok(Wake::Command(command)) = heard.recv() {
            command.caller.tell(Ok(()));
        }
        assert_eq!(commands.places.available_permits(), 1);
        drop(heard);
        let told = futures_util::future::join_all(asking).await;
        let stopped = |t: &Result<_, _>| matches!(t, Ok(Err(InferError::ShuttingDown)));
        assert_eq!(told.iter().filter(|t| stopped(t)).count(), WAITING - 1);
        assert!(matches!(commands.load("m").await, Err(InferError::ShuttingDown)));
    }
}
