//! Which version answers a request.
//!
//! The service asks [`Router::route`]; the repository and control publish. A [`Snapshot`] is
//! immutable: changing traffic or versions is publishing another one, a single pointer store,
//! and a request takes no lock. A version lives as long as a snapshot or a request holds it.

mod snapshot;
mod split;
mod version;

pub use snapshot::{ModelRoutes, Snapshot, VersionState, VersionStatus};
pub use split::{Split, SplitError};
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

    /// The version that answers. `point` picks among the traffic's arms: random for now, a hash
    /// of a sticky key when there is one.
    pub fn route(&self, spec: &ModelSpec, point: u64) -> Result<Arc<ServedVersion>, InferError> {
        self.0.load().route(spec, point)
    }
}

impl Default for Router {
    fn default() -> Self {
        Router::new()
    }
}
