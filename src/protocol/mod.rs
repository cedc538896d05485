//! The doors. Each translates a protocol into calls of the [service](crate::service) and its
//! answers back, and does nothing else. Only the app calls in here.

pub mod access;
pub mod admin;
mod body;
pub mod feedback;
mod files;
pub mod grpc;
pub mod http;
pub mod json;
pub mod listen;
pub mod oip;
pub mod openapi;
pub mod pb;
pub mod tfs;

pub use body::{Bodies, discard};
