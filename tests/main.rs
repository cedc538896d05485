//! Drives the real binary over real sockets with real models.

// Clippy sees tests in functions marked as such, and not in what they call.
#![allow(clippy::unwrap_used)]

mod batching;
mod cache;
mod churn;
mod commands;
mod demand;
mod edge;
mod engines;
mod feedback;
mod grpc;
mod oip;
mod openapi;
mod repository;
mod serving;
mod settings;
mod store;
mod support;
mod swapped;
mod tensorflow;
mod tidy;
mod tracing;
mod tuning;
mod wire;
