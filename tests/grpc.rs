//! The Open Inference Protocol over gRPC, against the engine alone: values, streams, refusals.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use ocelli::protocol::pb::inference::infer_parameter::ParameterChoice;
use ocelli::protocol::pb::inference::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use ocelli::protocol::pb::inference::{
    self as pb, InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use crate::support::{MODELS, Server, onnx, photo, put, reference};

const INFER: &str = "ModelInfer";

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.unwrap() })
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.grpc_url("")).unwrap().connect().await.unwrap()
}

fn path(rpc: &str) -> axum::http::uri::PathAndQuery {
    format!("/inference.GRPCInferenceService/{rpc}").parse().unwrap()
}

async fn call<M, R>(channel: &Channel, rpc: &str, message: M) -> Result<R, Status>
where
    M: Message + Send + Sync + 'static,
    R: Message + Default + Send + Sync + 'static,
{
    answer(channel, rpc, message).await.map(tonic::Response::into_inner)
}

/// The same with its metadata.
async fn answer<M, R>(
    channel: &Channel,
    rpc: &str,
    message: M,
) -> Result<tonic::Response<R>, Status>
where
    M: Message + Send + Sync + 'static,
    R: Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client.unary(Request::new(message), path(rpc), ProstCodec::<M, R>::default()).await
}

async fn infer(
    channel: &Channel,
    message: ModelInferRequest,
) -> Result<ModelInferResponse, Status> {
    call(channel, INFER, message).await
}

/// A request with one FP32 input, raw.
fn raw(model: &str, input: &str, shape: &[i64], values: &[f32]) -> ModelInferRequest {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    ModelInferRequest {
        model_name: model.to_owned(),
        id: "mine".to_owned(),
        inputs: vec![InferInputTensor {
            name: input.to_owned(),
            datatype: "FP32".to_owned(),
            shape: shape.to_vec(),
            ..Default::default()
        }],
        raw_input_contents: vec![Bytes::from(bytes)],
        ..Default::default()
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "affine", 1, &onnx::affine(2, 3, &[1.0, 0.0, 2.0, 0.0, 1.0, 4.0]));
    put(dir.path(), "two", 4, &onnx::sum_and_difference(2));
    put(dir.path(), "sums", 1, &onnx::column_sums(2));
    dir
}

#[test]
fn raw_and_typed_tensors_are_answered_in_kind_and_by_value() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        let mut request = raw("affine", "x", &[2, 2], &[1.0, 2.0, 3.0, -1.0]);
        let expected = [1.0, 2.0, 10.0, 3.0, -1.0, 2.0];
        let answer = infer(&channel, request.clone()).await.unwrap();
        assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("mine", "1"));
        assert_eq!(answer.outputs[0].name, "y");
        assert_eq!(
            (&answer.outputs[0].shape[..], answer.outputs[0].datatype.as_str()),
            (&[2, 3][..], "FP32")
        );
        assert_eq!(floats(&answer.raw_output_contents[0]), expected);
        request.inputs[0].contents = Some(pb::InferTensorContents {
            fp32_contents: floats(&request.raw_input_contents.remove(0)),
            ..Default::default()
        });
        let answer = infer(&channel, request).await.unwrap();
        assert!(answer.raw_output_contents.is_empty());
        assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, expected);
    });
}

#[test]
fn outputs_come_as_they_are_asked_for() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        let mut request = raw("two", "a", &[1, 2], &[5.0, 7.0]);
        let mut b = request.inputs[0].clone();
        b.name = "b".to_owned();
        request.inputs.insert(0, b);
        request.raw_input_contents.insert(0, Bytes::from_iter([0u8; 8]));
        let names = |answer: &ModelInferResponse| -> Vec<String> {
            answer.outputs.iter().map(|o| o.name.clone()).collect()
        };
        let answer = infer(&channel, request.clone()).await.unwrap();
        assert_eq!(names(&answer), ["sum", "difference"]);
        assert_eq!(answer.model_version, "4");
        let wanted = |name: &str, classes: i64| InferRequestedOutputTensor {
            name: name.to_owned(),
            parameters: [(
                "classification".to_owned(),
                InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(classes)) },
            )]
            .into(),
        };
        request.outputs = vec![wanted("difference", 0), wanted("sum", 1)];
        let answer = infer(&channel, request.clone()).await.unwrap();
        assert_eq!(names(&answer), ["difference", "sum"]);
        assert_eq!(floats(&answer.raw_output_contents[0]), [5.0, 7.0]);
        assert_eq!(
            (&answer.outputs[1].shape[..], answer.outputs[1].datatype.as_str()),
            (&[1, 1][..], "BYTES")
        );
        assert_eq!(&answer.raw_output_contents[1][4..], b"7.000000:1");
        request.outputs = vec![wanted("none", 0)];
        let refused = infer(&channel, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(
            refused.message().contains("no output `none`; outputs: sum, difference"),
            "{refused}"
        );
    });
}

#[test]
fn an_encoded_photo_is_decoded_by_the_server() {
    let server = Server::start(MODELS);
    let expected = reference("chelsea.jpg");
    run(async {
        let channel = channel(&server).await;
        let mut request = raw("efficientnet_lite0", "input", &[1], &[]);
        request.inputs[0].datatype = "BYTES".to_owned();
        let jpeg = photo("chelsea.jpg");
        let mut element = (jpeg.len() as u32).to_le_bytes().to_vec();
        element.extend_from_slice(&jpeg);
        request.raw_input_contents = vec![Bytes::from(element)];
        let answer = infer(&channel, request.clone()).await.unwrap();
        let logits: Vec<f32> = expected["outputs"][0]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        assert_eq!(floats(&answer.raw_output_contents[0]), logits);
        request.outputs = vec![InferRequestedOutputTensor {
            name: "logits".to_owned(),
            parameters: [(
                "classification".to_owned(),
                InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(2)) },
            )]
            .into(),
        }];
        let answer = infer(&channel, request).await.unwrap();
        let text = String::from_utf8_lossy(&answer.raw_output_contents[0]).into_owned();
        assert!(text.contains(":282:tiger cat") && text.contains(":285:Egyptian cat"), "{text}");
    });
}

#[test]
fn faults_have_the_code_and_the_words_for_them() {
    let dir = repository();
    let server = Server::start_with(dir.path().to_str().unwrap(), &["--max-body-bytes=1000"]);
    run(async {
        let channel = channel(&server).await;
        let refused = async |request| infer(&channel, request).await.unwrap_err();
        let check = |status: Status, code: Code, says: &str| {
            assert!(status.code() == code && status.message().contains(says), "{status}");
        };
        check(refused(raw("nope", "x", &[1, 2], &[1.0, 2.0])).await, Code::NotFound, "nope");
        let mut request = raw("affine", "x", &[1, 2], &[1.0, 2.0]);
        request.model_version = "9".to_owned();
        check(refused(request.clone()).await, Code::NotFound, "Specific(affine, 9)");
        request.model_version = "latest".to_owned();
        check(refused(request).await, Code::InvalidArgument, "`latest` is no number");
        let wrong = raw("affine", "x", &[1, 3], &[0.0; 3]);
        check(
            refused(wrong).await,
            Code::InvalidArgument,
            "takes x FP32 [batch,2], got FP32 [1, 3]",
        );
        check(
            refused(raw("affine", "y", &[1, 2], &[0.0; 2])).await,
            Code::InvalidArgument,
            "no input `y`; inputs: x",
        );
        check(
            refused(raw("affine", "x", &[0, 2], &[])).await,
            Code::InvalidArgument,
            "takes x FP32",
        );
        let large = raw("affine", "x", &[500, 2], &[0.0; 1000]);
        check(refused(large).await, Code::ResourceExhausted, "1000 bytes");
        let memory: Result<pb::SystemSharedMemoryStatusResponse, Status> = call(
            &channel,
            "SystemSharedMemoryStatus",
            pb::SystemSharedMemoryStatusRequest::default(),
        )
        .await;
        check(memory.unwrap_err(), Code::Unimplemented, "left out on purpose");
        let nothing: Result<pb::ServerLiveResponse, Status> =
            call(&channel, "Nothing", pb::ServerLiveRequest {}).await;
        check(nothing.unwrap_err(), Code::Unimplemented, "there is no RPC");
        // A time that is over before anything can be computed.
        let mut late = raw("affine", "x", &[1, 2], &[1.0, 2.0]);
        let timeout = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(1)) };
        late.parameters.insert("timeout".to_owned(), timeout);
        check(refused(late).await, Code::DeadlineExceeded, "no answer within");
    });
}

#[test]
fn an_answer_tells_which_version_computed_it_and_how() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        let request = raw("affine", "x", &[1, 2], &[1.0, 2.0]);
        let answer = answer::<_, ModelInferResponse>(&channel, INFER, request).await.unwrap();
        let told = |name| answer.metadata().get(name).map(|v| v.to_str().unwrap());
        assert_eq!(told("x-ocelli-model-version"), Some("1"));
        assert_eq!(told("x-ocelli-engine"), Some("tract"));
        assert_eq!(told("x-ocelli-precision"), Some("f32"));
        assert_eq!(told("x-ocelli-cache"), None);
    });
}

#[test]
fn messages_may_be_compressed_both_ways() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
            let mut client = tonic::client::Grpc::new(channel.clone())
                .send_compressed(encoding)
                .accept_compressed(encoding);
            client.ready().await.unwrap();
            let codec = ProstCodec::<ModelInferRequest, ModelInferResponse>::default();
            let request = Request::new(raw("affine", "x", &[1, 2], &[1.0, 2.0]));
            let answer = client.unary(request, path(INFER), codec).await.unwrap();
            assert!(answer.metadata().contains_key("grpc-encoding"), "{encoding:?}");
            assert_eq!(floats(&answer.get_ref().raw_output_contents[0]), [1.0, 2.0, 10.0]);
        }
    });
}

/// The answers of one stream.
async fn streamed(
    channel: &Channel,
    requests: impl futures_util::Stream<Item = ModelInferRequest> + Send + 'static,
) -> tonic::Streaming<ModelStreamInferResponse> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let codec = ProstCodec::<ModelInferRequest, ModelStreamInferResponse>::default();
    let answer = client.streaming(Request::new(requests), path("ModelStreamInfer"), codec).await;
    answer.unwrap().into_inner()
}

#[test]
fn a_stream_is_answered_in_order_and_outlives_a_bad_request() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        let requests = (0..100).map(|i| {
            let mut request = raw("affine", "x", &[1, 2], &[i as f32, 1.0]);
            request.id = i.to_string();
            if i == 50 {
                request.inputs[0].name = "wrong".to_owned();
            }
            request
        });
        let mut answers = streamed(&channel, futures_util::stream::iter(requests)).await;
        for i in 0..100 {
            let answer = answers.message().await.unwrap().unwrap();
            let response = answer.infer_response.clone().unwrap();
            assert_eq!(response.id, i.to_string());
            let last = response.parameters["triton_final_response"].parameter_choice.clone();
            assert_eq!(last, Some(ParameterChoice::BoolParam(true)));
            if i == 50 {
                assert!(answer.error_message.contains("no input `wrong`; inputs: x"), "{answer:?}");
            } else {
                assert_eq!(answer.error_message, "");
                let x = i as f32;
                assert_eq!(floats(&response.raw_output_contents[0]), [x, 1.0, 2.0 * x + 4.0]);
            }
        }
        assert!(answers.message().await.unwrap().is_none());
    });
}

#[test]
fn models_are_told_of() {
    let dir = repository();
    let server = Server::start(dir.path().to_str().unwrap());
    run(async {
        let channel = channel(&server).await;
        let live: pb::ServerLiveResponse =
            call(&channel, "ServerLive", pb::ServerLiveRequest {}).await.unwrap();
        let ready: pb::ServerReadyResponse =
            call(&channel, "ServerReady", pb::ServerReadyRequest {}).await.unwrap();
        assert!(live.live && ready.ready);
        let named =
            |name: &str| pb::ModelMetadataRequest { name: name.to_owned(), ..Default::default() };
        let told: pb::ModelMetadataResponse =
            call(&channel, "ModelMetadata", named("two")).await.unwrap();
        assert_eq!(
            (&told.versions[..], told.platform.as_str()),
            (&["4".to_owned()][..], "tract_onnx")
        );
        assert_eq!((told.inputs[1].name.as_str(), &told.inputs[1].shape[..]), ("b", &[-1, 2][..]));
        let config = pb::ModelConfigRequest { name: "two".to_owned(), ..Default::default() };
        let config: pb::ModelConfigResponse = call(&channel, "ModelConfig", config).await.unwrap();
        let config = config.config.unwrap();
        assert_eq!((config.max_batch_size, &config.input[0].dims[..]), (8, &[2][..]));
        assert_eq!(config.input[0].data_type(), pb::DataType::TypeFp32);
        for i in 0..3 {
            infer(&channel, raw("affine", "x", &[2, 2], &[i as f32; 4])).await.unwrap();
        }
        let asked = pb::ModelStatisticsRequest { name: "affine".to_owned(), ..Default::default() };
        let stats: pb::ModelStatisticsResponse =
            call(&channel, "ModelStatistics", asked).await.unwrap();
        let stats = &stats.model_stats[0];
        assert_eq!((stats.inference_count, stats.execution_count), (6, 3));
        let sums = stats.inference_stats.unwrap();
        assert_eq!((sums.success.unwrap().count, sums.fail.unwrap().count), (3, 0));
        assert!(sums.compute_infer.unwrap().ns > 0 && stats.last_inference > 1_700_000_000_000);
        let index = pb::RepositoryIndexRequest { ready: true, ..Default::default() };
        let index: pb::RepositoryIndexResponse =
            call(&channel, "RepositoryIndex", index).await.unwrap();
        let index: Vec<_> = index
            .models
            .iter()
            .map(|m| (m.name.as_str(), m.version.as_str(), m.state.as_str()))
            .collect();
        assert_eq!(
            index,
            [("affine", "1", "READY"), ("sums", "1", "READY"), ("two", "4", "READY")]
        );
    });
}

#[test]
fn health_is_told_and_watched_and_nothing_that_streams_holds_up_the_end() {
    let dir = repository();
    let flags = ["--lame-duck-ms=500", "--grace-ms=20000"];
    let server = Server::start_with(dir.path().to_str().unwrap(), &flags);
    let ended = run(async {
        let channel = channel(&server).await;
        let mut health = HealthClient::new(channel.clone());
        let mut check = async |service: &str| {
            let asked = HealthCheckRequest { service: service.to_owned() };
            health.check(asked).await.map(|a| a.into_inner().status())
        };
        for service in ["", "affine", "affine/1", "inference.GRPCInferenceService"] {
            assert_eq!(check(service).await.unwrap(), ServingStatus::Serving, "{service}");
        }
        for service in ["nope", "affine/2", "affine/x"] {
            assert_eq!(check(service).await.unwrap_err().code(), Code::NotFound, "{service}");
        }
        let asked = HealthCheckRequest { service: String::new() };
        let mut watched = health.watch(asked).await.unwrap().into_inner();
        let status = |a: Option<HealthCheckResponse>| a.unwrap().status();
        assert_eq!(status(watched.message().await.unwrap()), ServingStatus::Serving);
        // Open, with one request answered, and no end in sight.
        let request = raw("affine", "x", &[1, 2], &[1.0, 2.0]);
        let open = futures_util::stream::iter([request]).chain(futures_util::stream::pending());
        let mut answers = streamed(&channel, open).await;
        assert!(answers.message().await.unwrap().is_some());

        let asked_to_stop = Instant::now();
        server.terminate();
        assert_eq!(status(watched.message().await.unwrap()), ServingStatus::NotServing);
        assert!(watched.message().await.unwrap().is_none());
        let end = answers.message().await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
        asked_to_stop
    });
    assert!(server.wait().success());
    assert!(ended.elapsed() < Duration::from_secs(10), "{:?}", ended.elapsed());
}
