//! Traffic: who gets what share, its history, and going back; rollouts, experiments and feedback.
//!
//! The admin API is the only door through which people change traffic. [`document`] says what traffic is,
//! [`history`] what of it can be served now; the [`Publisher`] turns both into a routing snapshot, and the
//! [`Operator`] changes it through a [`store`] that replicas share. [`rollout`] moves weights by what
//! [`figures`] say, and [`experiment`] tells people the same.

mod backoff;
pub mod bandit;
pub mod document;
pub mod events;
pub mod experiment;
pub mod feedback;
mod figures;
mod follow;
mod history;
mod ledgers;
mod operator;
mod publisher;
pub mod rollout;
mod steer;
pub mod store;

use std::sync::Arc;

pub use document::{Document, TrafficSpec};
pub use figures::{Figures, Prometheus, PrometheusError, Since, Window};
pub use follow::follow;
pub use history::{History, Rollback, Traffic};
pub use ledgers::Ledgers;
pub use operator::{By, Draft, Operator};
pub use publisher::{Loaded, Publisher, Standing};
pub use steer::{Edit, Steer};

/// What the doors need of this room.
#[derive(Clone)]
pub struct Control {
    /// Changes traffic.
    pub operator: Arc<Operator>,
    /// What the arms did.
    pub figures: Arc<Figures>,
    /// What feedback says.
    pub ledgers: Arc<Ledgers>,
}
