//! What all gRPC doors share.

pub mod call;
pub mod frame;
pub mod status;
