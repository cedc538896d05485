//! What is told of the server: metrics for machines, logs for people.
//!
//! Every room may record here; this room knows none of them.

pub mod cache;
pub mod delivery;
pub mod logs;
pub mod metrics;
pub mod source;
pub mod stats;
pub mod trace;
