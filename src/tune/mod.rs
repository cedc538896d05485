//! Finds the settings with which a model does most on this machine and keeps its objective.
//!
//! `ocelli tune` calls it, and `ocelli bench` its [`time_runs`]; nobody else does. [`search`] decides what is tried next and is pure but for what it
//! asks a [`Rig`]; [`rig`] is the one that measures: it puts the model behind a real scheduler and sends it
//! requests at random, at one rate after another. [`plot`] draws what was found and [`edit`] writes it into
//! `model.toml`. Nothing here is on the way of a request.

mod edit;
mod plot;
mod raw;
mod rig;
mod search;
mod setting;

pub use edit::write;
pub use plot::svg;
pub use raw::time_runs;
pub use rig::{Machine, RigError};
pub use search::{Measured, Rig, Tuned, confirm, search};
pub use setting::{Capacity, Point, Setting};
