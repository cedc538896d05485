//! The messages of proto/, as the doors read and write them.

/// Package `inference`: the Open Inference Protocol, and Triton's extensions of it.
#[allow(missing_docs, clippy::all)]
pub mod inference {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// Package `ocelli.v1`: feedback.
#[allow(missing_docs, clippy::all)]
pub mod ocelli {
    include!(concat!(env!("OUT_DIR"), "/ocelli.v1.rs"));
}

/// Package `tensorflow`: tensors, examples and signatures; within it, TensorFlow Serving's API.
#[allow(missing_docs, clippy::all)]
pub mod tensorflow {
    include!(concat!(env!("OUT_DIR"), "/tensorflow.rs"));

    /// Package `tensorflow.error`: codes, which are gRPC's.
    pub mod error {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.error.rs"));
    }

    /// Package `tensorflow.serving`: services and what they take and give.
    pub mod serving {
        include!(concat!(env!("OUT_DIR"), "/tensorflow.serving.rs"));
    }
}

/// The descriptors of all services, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/services.bin"));
