//! What happened to traffic: the last of it in memory, all of it in the log and, if there is one, in the
//! audit file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::document::Document;
use crate::telemetry::metrics::Metrics;

/// Events that are remembered.
const KEPT: usize = 256;

/// The last events, and where all of them go.
pub struct Events {
    last: Mutex<VecDeque<Event>>,
    audit: Option<Mutex<File>>,
    metrics: Arc<Metrics>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Event {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// To which model.
    pub model: String,
    /// What it was.
    pub kind: Kind,
    /// Whose doing.
    pub author: String,
    /// The revision of the traffic that came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// In words.
    pub message: String,
    /// The traffic that came of it, for the audit file alone.
    #[serde(skip)]
    document: Option<Document>,
}

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody changed the traffic.
    Traffic,
    /// Somebody went back.
    Rollback,
    /// A rollout moved, or was moved.
    Rollout,
    /// A rollout went back by itself.
    AutomaticRollback,
    /// A bandit moved the weights.
    Bandit,
    /// Somebody asked for models to be loaded or unloaded.
    Repository,
    /// The store can't be reached, or can again.
    Store,
}

impl Kind {
    /// As a label.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Traffic => "traffic",
            Kind::Rollback => "rollback",
            Kind::Rollout => "rollout",
            Kind::AutomaticRollback => "automatic_rollback",
            Kind::Bandit => "bandit",
            Kind::Repository => "repository",
            Kind::Store => "store",
        }
    }
}

/// A line of the audit file.
#[derive(Serialize)]
struct Audited<'a> {
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a Document>,
}

impl Event {
    /// A document came into force.
    pub fn changed(model: &str, kind: Kind, document: &Document) -> Event {
        Event {
            at: document.created,
            model: model.to_owned(),
            kind,
            author: document.author.clone(),
            revision: Some(document.revision),
            message: document.reason.clone(),
            document: Some(document.clone()),
        }
    }

    /// Something else happened.
    pub fn other(model: &str, kind: Kind, author: &str, message: String) -> Event {
        let (model, author) = (model.to_owned(), author.to_owned());
        Event { at: Timestamp::now(), model, kind, author, revision: None, message, document: None }
    }
}

impl Events {
    /// Appends to the audit file, if there is to be one.
    pub fn new(audit: Option<&Path>, metrics: Arc<Metrics>) -> std::io::Result<Events> {
        let open = |path| File::options().create(true).append(true).open(path);
        let audit = audit.map(open).transpose()?.map(Mutex::new);
        Ok(Events { last: Mutex::default(), audit, metrics })
    }

    /// Tells of an event.
    pub fn tell(&self, event: Event) {
        let (kind, model) = (event.kind.name(), &event.model);
        // Whoever asks for a load may name what is not there: names of callers are no labels.
        let label = if event.kind == Kind::Repository { "" } else { model.as_str() };
        self.metrics.delivery.events.with_label_values(&[label, kind]).inc();
        tracing::info!(target: "ocelli::audit", model, kind, author = event.author,
            revision = event.revision, message = event.message, "event");
        if let Some(audit) = &self.audit {
            let line = Audited { event: &event, document: event.document.as_ref() };
            let written =
                serde_json::to_vec(&line).map_err(std::io::Error::other).and_then(|mut l| {
                    l.push(b'\n');
                    // One write, so that lines of several processes don't mix.
                    audit.lock().unwrap_or_else(PoisonError::into_inner).write_all(&l)
                });
            if let Err(error) = written {
                tracing::error!(%error, "the audit file can't be written");
            }
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT {
            last.pop_back();
        }
        last.push_front(event);
    }

    /// The last events, the newest first.
    pub fn last(&self, limit: usize) -> Vec<Event> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().take(limit).cloned().collect()
    }
}
