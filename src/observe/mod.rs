//! What is seen of predictions: a log of them, and whether what comes in drifts from what came before.
//!
//! The service hands predictions in; nothing here may hold one up.

pub mod drift;
pub mod prediction_log;
