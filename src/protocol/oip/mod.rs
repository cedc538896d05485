//! The Open Inference Protocol, "V2" (kserve/open-inference-protocol, specification/protocol), and
//! of Triton's extensions those that its clients use (triton-inference-server/server,
//! docs/protocol). One meaning behind two doors: REST and gRPC.

pub mod grpc;
pub mod infer;
pub mod model;
pub mod rest;

/// Why there is none.
const NO_SHARED_MEMORY: &str = "shared memory is left out on purpose: it lets one client read what \
    another one or the server holds; send tensors in the request";

/// Why there are none.
const NO_LIVE_SETTINGS: &str = "trace and log settings are not changed over the protocol; see \
    --log-level and the OpenTelemetry settings of `ocelli serve --help`";
