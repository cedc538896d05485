//! The Open Inference Protocol, "V2" (kserve/open-inference-protocol, specification/protocol), and
//! of Triton's extensions those that its clients use (triton-inference-server/server,
//! docs/protocol). One meaning behind two doors: REST and gRPC.

pub mod infer;
pub mod model;
