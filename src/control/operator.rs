//! Changes of traffic: drafted from what holds, stored by compare-and-swap, then put into force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::bandit::Bandit;
use super::document::{Document, TrafficSpec};
use super::events::{Event, Events, Kind};
use super::publisher::{Publisher, Standing};
use super::rollout::Rollout;
use super::store::{Store, StoreError};
use crate::error::InferError;
use crate::router::Slots;

/// Revisions that another replica may be ahead.
const LEAP: u64 = 1_000_000;

/// How long a change is attempted when others change the same model.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an attempt waits after it was lost, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// The only one who changes traffic. The admin API, rollouts and bandits go through it.
pub struct Operator {
    publisher: Arc<Publisher>,
    store: Arc<dyn Store>,
    events: Arc<Events>,
    /// The store was read since the start.
    read: watch::Sender<bool>,
}

/// Who changes something, and why.
#[derive(Clone, Debug, Default)]
pub struct By {
    /// A person's name, or `rollout`, `bandit`.
    pub author: String,
    /// Why.
    pub reason: String,
    /// The revision it was decided on: another one in between refuses the change.
    pub if_revision: Option<u64>,
}

/// A document to be.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// What it says.
    pub traffic: TrafficSpec,
    /// Whose the slots are, if they are not to be as near to the present ones as can be.
    pub slots: Option<Slots>,
    /// The revision it brings back.
    pub restores: Option<u64>,
    /// The rollout in it.
    pub rollout: Option<Rollout>,
    /// The bandit in it.
    pub bandit: Option<Bandit>,
}

impl Operator {
    /// Changes what is in `store`, and then what `publisher` publishes.
    pub fn new(publisher: Arc<Publisher>, store: Arc<dyn Store>, events: Arc<Events>) -> Operator {
        Operator { publisher, store, events, read: watch::Sender::new(false) }
    }

    /// Whether the store was read since the start. Until then the traffic is what the files say, which may be
    /// what a document keeps from being served, and versions may be needed that nobody knows of.
    pub fn has_read(&self) -> watch::Receiver<bool> {
        self.read.subscribe()
    }

    /// What is published.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Where documents are kept.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// What happened.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Makes a change: `edit` drafts it from what holds, again if another operator was faster. When this
    /// returns, the change is stored and in force here.
    pub async fn change(
        &self,
        model: &str,
        kind: Kind,
        by: &By,
        edit: impl Fn(&Standing) -> Result<Draft, InferError> + Send + Sync,
    ) -> Result<Document, InferError> {
        let end = Instant::now() + PATIENCE;
        let (mut taken, mut pause) = (0, Backoff::new(PAUSE.0, PAUSE.1));
        while Instant::now() < end {
            let standing = self.publisher.standing(model)?;
            let revision = standing.history.revision();
            if let Some(expected) = by.if_revision.filter(|r| *r != revision) {
                return Err(InferError::Raced(format!(
                    "traffic of {model}: revision {expected} was replaced by {revision}; look at it and decide again"
                )));
            }
            let Draft { traffic, slots, restores, rollout, bandit } = edit(&standing)?;
            traffic.check().map_err(|e| InferError::Invalid(e.to_string()))?;
            let document = Document {
                revision: revision.max(taken) + 1,
                author: by.author.clone(),
                reason: by.reason.clone(),
                created: Timestamp::now(),
                restores,
                slots: slots.or_else(|| standing.history.slots(&traffic)),
                traffic,
                rollout,
                bandit,
            };
            match self.store.publish(model, document.clone()).await {
                Ok(()) => {
                    self.publisher.adopt(model, vec![document.clone()]);
                    self.events.tell(Event::changed(model, kind, &document));
                    return Ok(document);
                }
                Err(StoreError::Conflict { expected, .. }) => {
                    taken = expected.saturating_sub(1);
                    if taken < revision {
                        self.give_back(model, &standing).await?;
                    }
                    // Whoever won knows at once what holds and is faster the next time, too. Another moment is another chance.
                    tokio::time::sleep(pause.next()).await;
                    self.refresh().await?;
                }
                Err(error) => return Err(refused(model, &error)),
            }
        }
        Err(InferError::Raced(format!("traffic of {model}: others keep changing it; try again")))
    }

    /// Takes over a document that another replica stored, without waiting to be told by the store.
    pub fn offer(&self, model: &str, document: Document) -> Result<(u64, bool), InferError> {
        document.traffic.check().map_err(|e| InferError::Invalid(e.to_string()))?;
        // A number from nowhere would leave none for those that follow.
        let (revision, newest) =
            (document.revision, self.publisher.standing(model)?.history.revision());
        if revision.saturating_sub(newest) > LEAP {
            return Err(InferError::Invalid(format!(
                "traffic of {model}: revision {revision} is too far from {newest}, the newest here"
            )));
        }
        let adopted = self.publisher.adopt(model, vec![document]);
        Ok((self.publisher.standing(model)?.history.revision(), adopted))
    }

    /// A store that was lost, or set back, or passed over by an offer, is given what is known here.
    async fn give_back(&self, model: &str, standing: &Standing) -> Result<(), InferError> {
        let documents = standing.history.documents().to_vec();
        tracing::warn!(
            model,
            revision = standing.history.revision(),
            "the store has lost traffic documents; it is given them back"
        );
        self.store.restore(model, documents).await.map_err(|e| refused(model, &e))
    }

    /// Takes over what is stored.
    pub async fn refresh(&self) -> Result<(), InferError> {
        let stored = self.store.load().await.map_err(|e| refused("all models", &e))?;
        for (model, documents) in stored {
            self.publisher.adopt(&model, documents);
        }
        self.read.send_replace(true);
        Ok(())
    }
}

fn refused(model: &str, error: &StoreError) -> InferError {
    InferError::Store(format!("traffic of {model} is as it was: {error}"))
}
