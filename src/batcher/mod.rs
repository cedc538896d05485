//! The heart: requests wait in lanes, compute threads take them as batches.
//!
//! The service takes a [`Place`] and calls [`Queue::infer`]; nobody else does. A lane is a queue for
//! one (version, shape). The scheduler is work-conserving: an idle thread takes what is there at
//! once, and while all are busy the lanes grow into larger batches. [`core`] decides and is pure
//! (no clock, no thread); [`scheduler`] is its lock; [`worker`] is the only code that runs a model.

mod beside;
mod core;
mod headroom;
mod job;
mod scheduler;
mod worker;

pub use self::core::{Limits, Priority};
pub use beside::{Beside, run_beside, run_now};
pub use headroom::Headroom;
pub use job::{Reply, Target};
pub use scheduler::{Place, Queue, Scheduler};
