//! What all gRPC doors share.

pub mod status;
