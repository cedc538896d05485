//! Compiles the protocol definitions of this folder without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/onnx.proto");
    let files = protox::compile(["proto/onnx.proto"], ["proto"])?;
    prost_build::Config::new()
        // Weights stay slices of the file's buffer instead of being copied.
        .bytes(["."])
        .compile_fds(files)?;
    Ok(())
}
