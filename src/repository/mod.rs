//! Finds, verifies, loads, warms and unloads versions: a control loop, never on the request path.
//!
//! The app starts one [`Reconciler`]; nobody else calls in. [`scan`] says what is on disk,
//! [`plan`] (pure) what to do about it, [`load`] does it on one low-priority thread, and the
//! result is handed to the publisher of the control room.

pub mod load;
mod plan;
mod reconciler;
mod scan;
pub mod spec;

pub use reconciler::{Reconciler, ReconcilerSettings};
