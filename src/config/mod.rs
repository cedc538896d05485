//! The server's settings: one typed struct, filled from flags, environment and file.
//!
//! Flags are stronger than `OCELLI_…` variables, those stronger than the TOML file, that stronger
//! than the defaults. The command line's own parser reads all four, so that a value is checked
//! and explained alike wherever it comes from.

mod address;
mod cache_dir;
mod engines;
mod layers;
mod serve;
mod source;
mod store;
mod toml_error;

pub use address::{Address, ClientAuth, OptionalFile};
pub use cache_dir::cache_dir;
pub use engines::EngineArgs;
pub use layers::{ConfigError, Source, parse_serve};
pub use serve::ServeConfig;
pub use source::{Models, SourceArgs};
pub use store::TrafficStore;
pub use toml_error::{explain, nearest, toml_error};
