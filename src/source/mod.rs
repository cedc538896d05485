//! Models from elsewhere: mirrors a repository behind a URL into a local directory, which the
//! `repository` room then scans like any other.
//!
//! The app opens one [`Source`] and starts it; the admin API reads its [`Standing`]. Nothing here is
//! on the request path: all of it runs on one thread of low priority ([`mirror`]).
//!
//! In each [`look`], [`listing`] says what the source has (by a signed [`manifest`], or by listing its
//! objects), [`plan`] (pure) what a model's directory becomes of it, [`fetch`] gets the objects that
//! are not here, and [`cache`] publishes a model's whole directory by one rename.

mod cache;
mod chain;
mod error;
mod fetch;
mod index;
mod key;
mod listing;
mod look;
pub mod manifest;
mod mirror;
mod place;
mod plan;
mod retry;
mod signature;
mod standing;
mod stores;
mod tree;

pub use error::SourceError;
pub use mirror::{Running, Source, SourceSettings};
pub use place::Place;
pub use signature::TrustedKeys;
pub use standing::{Failing, Standing, StandingView};
pub use stores::Access;
