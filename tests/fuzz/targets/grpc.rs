//! Bodies of gRPC calls: frames however they are cut, packed or not, and ModelInferRequests in them.
#![no_main]

use axum::body::Body;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ocelli::protocol::Bodies;
use ocelli::protocol::grpc::frame::{Encoding, Messages};
use ocelli::protocol::oip::grpc::decode::decode;
use ocelli::tensor::{DType, elements};

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let [step, packing, body @ ..] = data else { return };
    let encoding = match packing % 3 {
        0 => None,
        1 => Some(Encoding::Gzip),
        _ => Some(Encoding::Zstd),
    };
    let cut = body.chunks(usize::from(*step).max(1)).map(Bytes::copy_from_slice);
    let frames: Vec<Result<Bytes, std::io::Error>> = cut.map(Ok).collect();
    let body = Body::from_stream(futures_util::stream::iter(frames));
    let bodies = Bodies::new(LIMIT, 4 * LIMIT);
    let mut messages = Messages::new(body, encoding);
    let read = async {
        while let Ok(Some(message)) = messages.next(&bodies, std::time::Duration::MAX).await {
            let Ok(unpacked) = message.packed.unpack(LIMIT) else { continue };
            assert!(unpacked.len() <= LIMIT);
            let Ok(request) = decode(unpacked) else { continue };
            for (_, tensor) in &request.call.inputs {
                let count = elements(tensor.shape()).expect("a shape that was checked");
                match tensor.dtype() {
                    DType::Bytes => assert_eq!(tensor.strings().len(), count),
                    dtype => assert_eq!(Some(tensor.data().len()), dtype.size().map(|s| s * count)),
                }
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(read);
});
