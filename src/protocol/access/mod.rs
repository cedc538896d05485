//! Who may come in: keys, what each may do and how often, asked before a request's body is read.
//! `http` and the app put [`AccessLayer`] around routers; handlers read [`Caller`].

mod keys;
mod layer;
mod rate;

pub use keys::{Access, Right, hash};
pub use layer::{AccessLayer, Caller, Rules};
