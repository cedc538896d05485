//! Feedback by REST and gRPC: what an answer's id says, what is counted, what is refused.

use ocelli::protocol::pb::inference::model_infer_request::InferInputTensor;
use ocelli::protocol::pb::inference::{ModelInferRequest, ModelInferResponse};
use ocelli::protocol::pb::ocelli::feedback_request::Truth;
use ocelli::protocol::pb::ocelli::{FeedbackRequest, FeedbackResponse};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Server, agent, onnx, put};

const ID: &str = "x-ocelli-request-id";

/// A model of three classes: an input of one number, scores 1, 2 and 3 times it.
fn serve() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "m", 1, &onnx::affine(1, 3, &[1.0, 2.0, 3.0]));
    std::fs::write(dir.path().join("m/model.toml"), "[feedback]\nclass = true\n").unwrap();
    let server = Server::start(dir.path().to_str().unwrap());
    (dir, server)
}

fn predict(server: &Server, rows: Value) -> String {
    let url = server.url("/v1/models/m:predict");
    let answer = agent().post(url).send_json(json!({ "instances": rows })).unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    // Who gives no id of his own gets this one as his, too.
    assert_eq!(header("x-request-id"), header(ID));
    header(ID)
}

fn tell(server: &Server, feedback: &Value) -> (u16, Value) {
    let url = server.url("/v1/models/m:feedback");
    let mut answer = agent().post(url).send_json(feedback).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

#[test]
fn the_id_of_an_answer_is_enough_to_judge_it_and_counts_once() {
    let (_dir, server) = serve();
    // The third class is best of a positive number, the first of a negative one.
    let id = predict(&server, json!([[5.0], [-5.0]]));
    assert!(id.contains(".m.1r0.2+0."), "{id}");
    let accepted = |accepted: bool| (200, json!({ "accepted": accepted }));
    assert_eq!(tell(&server, &json!({ "request_id": id, "label": 2 })), accepted(true));
    assert_eq!(tell(&server, &json!({ "request_id": id, "label": 2 })), accepted(false));
    assert_eq!(tell(&server, &json!({ "request_id": id, "row": 1, "label": 1 })), accepted(true));
    let other = predict(&server, json!([[1.0]]));
    let reward = json!({ "request_id": other, "reward": -0.5, "correct": true });
    assert_eq!(tell(&server, &reward), accepted(true));

    let url = server.admin_url("/admin/v1/models/m/feedback");
    let told: Value = agent().get(url).call().unwrap().body_mut().read_json().unwrap();
    let total = &told["versions"]["1"]["total"];
    assert_eq!((&total["judged"], &total["correct"]), (&json!(3), &json!(2)));
    assert_eq!(total["reward_mean"], json!(-0.5));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let (_dir, server) = serve();
    let id = predict(&server, json!([[5.0]]));
    let refused = |feedback: Value, why: &str| {
        let (status, body) = tell(&server, &feedback);
        let error = body["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(why), "{status} {error}");
    };
    let changed = id.replace(".m.1r0.", ".m.2r0.");
    refused(json!({ "request_id": changed, "label": 2 }), "checksum");
    refused(json!({ "request_id": "x", "label": 2 }), "parts");
    refused(json!({ "request_id": id }), "feedback for m");
    refused(json!({ "request_id": id, "row": 1, "label": 2 }), "row");
    refused(json!({ "request_id": id, "label": "tabby" }), "knows no label `tabby`");
    refused(json!({ "request_id": id, "reward": "much" }), "an example");
    let url = server.url("/v1/models/other:feedback");
    let told = json!({ "request_id": id, "label": 2 });
    let mut answer = agent().post(url).send_json(told).unwrap();
    let body: Value = answer.body_mut().read_json().unwrap();
    assert!(body["error"].as_str().unwrap().contains("was given by model m"), "{body}");
}

#[test]
fn takes_feedback_by_grpc_for_answers_by_grpc() {
    let (_dir, server) = serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Channel::from_shared(server.grpc_url("")).unwrap();
        let channel = channel.connect().await.unwrap();
        async fn call<M, R>(
            channel: &tonic::transport::Channel,
            path: &'static str,
            message: M,
        ) -> Result<Response<R>, Status>
        where
            M: Message + Send + Sync + 'static,
            R: Message + Default + Send + Sync + 'static,
        {
            let mut client = tonic::client::Grpc::new(channel.clone());
            client.ready().await.unwrap();
            let path = axum::http::uri::PathAndQuery::from_static(path);
            client.unary(Request::new(message), path, ProstCodec::default()).await
        }
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 1],
            ..Default::default()
        };
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            inputs: vec![input],
            raw_input_contents: vec![bytes::Bytes::copy_from_slice(&5f32.to_le_bytes())],
            ..Default::default()
        };
        let infer = "/inference.GRPCInferenceService/ModelInfer";
        let answer: Response<ModelInferResponse> = call(&channel, infer, request).await.unwrap();
        let request_id = answer.metadata().get(ID).unwrap().to_str().unwrap().to_owned();
        let record = "/ocelli.v1.Feedback/Record";
        let feedback = FeedbackRequest {
            model: "m".to_owned(),
            request_id,
            truth: Some(Truth::Class(2)),
            ..Default::default()
        };
        for accepted in [true, false] {
            let told: Response<FeedbackResponse> =
                call(&channel, record, feedback.clone()).await.unwrap();
            assert_eq!(told.into_inner().accepted, accepted);
        }
        let wrong = FeedbackRequest { model: "n".to_owned(), ..feedback };
        let refused = call::<_, FeedbackResponse>(&channel, record, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("was given by model m"), "{}", refused.message());
    });
}
