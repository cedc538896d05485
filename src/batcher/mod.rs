//! The heart: requests wait in lanes, compute threads take them as batches.
//!
//! The service takes a [`Place`] and calls [`Queue::infer`]; nobody else does. A lane is a queue for
//! one (version, shape). The scheduler is work-conserving: an idle thread takes what is there at
//! once, and while all are busy the lanes grow into larger batches. [`core`] decides and is pure
//! (no clock, no thread); [`scheduler`] is its lock; [`worker`] is the only code that runs a model.
//!
//! What `core` decides by is pure, too, each in a module of its own: what a batch costs ([`cost`]), what
//! comes in ([`demand`]), what comes before ([`decoding`]), how many rows make the next batch ([`rule`]), who is let in ([`admission`]), whose
//! turn it is among models ([`share`]), and what all of that amounts to ([`load`]). docs/batching.md tells
//! why, and what it was measured against.

mod admission;
mod beside;
#[cfg(test)]
mod claims;
mod core;
mod cost;
mod decoding;
mod demand;
mod headroom;
mod images;
mod job;
mod lane;
mod lanes;
mod load;
mod meter;
mod rule;
mod scheduler;
mod share;
#[cfg(test)]
mod sim;
mod worker;

pub use self::core::{Limits, Priority, Threads};
pub use admission::{Slo, SloError};
pub use beside::{Beside, run_beside, run_now};
pub use headroom::Headroom;
pub use images::Images;
pub use job::{Reply, Target};
pub use load::{LoadReport, ModelLoad, Offered};
pub use meter::Meter;
pub use rule::Rule;
pub use scheduler::{Place, Queue, Scheduler};
pub use share::Shares;
