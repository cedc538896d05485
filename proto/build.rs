//! Compiles the protocol definitions of this folder without a system `protoc`.

use std::path::PathBuf;

use prost::Message as _;

/// Services, whose descriptors the server reflects.
const SERVICES: [&str; 4] = [
    "proto/inference.proto",
    "proto/ocelli.proto",
    "proto/tensorflow_serving/apis/prediction_service.proto",
    "proto/tensorflow_serving/apis/model_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let onnx = protox::compile(["proto/onnx.proto"], ["proto"])?;
    let services = protox::compile(SERVICES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("services.bin"), services.encode_to_vec())?;
    for files in [onnx, services] {
        // Weights and tensors stay slices of the buffer they came in.
        prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    }
    Ok(())
}
