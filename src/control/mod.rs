//! Traffic: who gets what share, its history, and going back.
//!
//! The admin API is the only door through which people change it; the repository tells
//! [`Publisher`] what is loaded. [`traffic`] is pure; the publisher turns both into a routing
//! snapshot. Rollouts, experiments and feedback will live beside it.

mod publisher;
mod traffic;

pub use publisher::{Loaded, Publisher};
pub use traffic::{History, Rollback, Table, Traffic};
