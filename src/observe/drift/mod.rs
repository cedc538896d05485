//! Whether a model still sees what it used to see.
//!
//! A [`Monitor`] compares the last inputs and predicted classes with a [`Reference`]: a file beside
//! the version, or else the first inputs after it was loaded. [`stats`] says of an input what is
//! compared, [`histogram`] how far two distributions are apart. All but the monitor, which is a
//! lock, is pure.

mod histogram;
mod monitor;
mod reference;
mod stats;

pub use histogram::{Distance, Histogram};
pub use monitor::{Distances, Monitor, Settings};
pub use reference::{Reference, ReferenceError};
pub use stats::{InputStats, Spread};
