//! Ocelli: a stateless inference server for vision models.
//!
//! docs/ARCHITECTURE.md is the map. A request goes one way, and so do imports:
//! `protocol → service → router → batcher → engine`, with `tensor` and `error` below all of them,
//! `control` and `repository` beside the road, and `app` on top.

// Only what calls into C allows it: ONNX Runtime, libjpeg-turbo and the allocator (tests/tidy.rs has the list).
#![deny(unsafe_code)]

pub mod app;
pub mod batcher;
pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod digest;
pub mod engine;
pub mod error;
pub mod input;
pub mod memory;
pub mod observe;
pub mod onnx;
pub mod prediction_id;
pub mod protocol;
pub mod repository;
pub mod router;
pub mod service;
pub mod source;
pub mod stats;
pub mod telemetry;
pub mod tensor;
pub mod tune;
pub mod vision;
