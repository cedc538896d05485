//! Which version answers a request.
//!
//! The service asks [`Router::route`]; the repository and control publish. A [`Snapshot`] is
//! immutable: changing traffic or versions is publishing another one, a single pointer store,
//! and a request takes no lock. A version lives as long as a snapshot or a request holds it.

mod plan;
mod slots;
mod snapshot;
mod version;

pub use plan::{Asked, Attribute, Nobody, Plan, Shadows, Why};
pub use slots::{SLOTS, Slots, SlotsError, normalise};
pub use snapshot::{ModelRoutes, Route, Snapshot, VersionState, VersionStatus};
pub use version::{ServedVersion, VersionInfo};

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::error::InferError;

/// What a caller names: a model, and perhaps which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// The model's name.
    pub model: String,
    /// Which of its versions.
    pub selector: Selector,
}

/// Which version of a model a caller wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selector {
    /// Whatever the traffic table gives.
    #[default]
    Traffic,
    /// This one, whatever the traffic.
    Version(u64),
    /// The one that has this label now.
    Label(String),
}

/// Holds the current snapshot.
pub struct Router(ArcSwap<Snapshot>);

impl Router {
    /// Routes nothing yet.
    pub fn new() -> Router {
        Router(ArcSwap::from_pointee(Snapshot::default()))
    }

    /// The snapshot now. Keep it no longer than a request.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Replaces the snapshot. Only the publisher of the control room calls this.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }

    /// Who answers a request, and who gets a copy of it.
    pub fn route(&self, spec: &ModelSpec, request: &dyn Asked) -> Result<Route, InferError> {
        self.0.load().route(spec, request)
    }

    /// A version that could answer, for questions about the model.
    pub fn version(&self, spec: &ModelSpec) -> Result<Arc<ServedVersion>, InferError> {
        self.route(spec, &Nobody).map(|route| route.version)
    }
}

impl Default for Router {
    fn default() -> Self {
        Router::new()
    }
}
