//! Finds, verifies, loads, warms and unloads versions: a control loop, never on the request path.
//!
//! The app starts one [`Reconciler`], and doors ask it for changes through [`Commands`]; nobody
//! else calls in. In each of the [`rounds`], [`scan`] says what is on disk, [`orders`] (pure) what
//! was asked beside that, [`plan`] (pure) what to do about both, [`load`] does it on one
//! low-priority thread, with the engine of its [`choice`], and the result is handed to the publisher of the control room.

pub mod choice;
mod commands;
pub mod load;
mod obey;
mod orders;
mod plan;
mod quiet;
mod reconciler;
mod room;
mod rounds;
mod scan;
pub mod spec;
mod versions;
mod waiting;

pub use commands::{Commands, ModelConfig};
pub use reconciler::{Reconciler, ReconcilerSettings, Waker};
pub use spec::VersionPolicy;
