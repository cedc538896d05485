//! TensorFlow Serving's gRPC API, by a client over a socket.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use ocelli::protocol::pb::tensorflow as tf;
use ocelli::protocol::pb::tensorflow::serving as tfs;
use prost::Message;
use tf::feature::Kind;
use tfs::model_spec::VersionChoice;
use tonic::{Code, Status};

use crate::support::{self, MODELS, onnx, photo, put, reference};

/// `affine` is `[2, 3]` and classifies into a, b and c; `sum` adds two numbers; `pair` has two inputs
/// and two outputs; `broken` loads in no version.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| std::fs::write(dir.path().join(path), text).unwrap();
    for (version, factor) in [(1, 1.0), (2, 10.0)] {
        let weights = [1.0, 0.0, 2.0, 0.0, 1.0, 4.0].map(|w| w * factor);
        put(dir.path(), "affine", version, &onnx::affine(2, 3, &weights));
    }
    file(
        "affine/model.toml",
        "[versions]\nall = true\n[labels]\nstable = 1\n[output]\nkind = 'classification'\n\
         labels = 'labels.txt'\ntop_k = 2\n",
    );
    file("affine/labels.txt", "a\nb\nc\n");
    put(dir.path(), "sum", 1, &onnx::affine(2, 1, &[1.0, 1.0]));
    put(dir.path(), "pair", 1, &onnx::sum_and_difference(2));
    put(dir.path(), "broken", 7, b"no model");
    dir
}

fn spec(name: &str) -> Option<tfs::ModelSpec> {
    Some(tfs::ModelSpec { name: name.to_owned(), ..Default::default() })
}

fn chosen(name: &str, choice: VersionChoice) -> Option<tfs::ModelSpec> {
    spec(name).map(|spec| tfs::ModelSpec { version_choice: Some(choice), ..spec })
}

/// Floats as Python's `make_tensor_proto` sends them.
fn tensor(dims: &[i64], values: &[f32]) -> tf::TensorProto {
    let dim = |n: &i64| tf::tensor_shape_proto::Dim { size: *n, name: String::new() };
    let dim = dims.iter().map(dim).collect();
    tf::TensorProto {
        dtype: tf::DataType::DtFloat.into(),
        tensor_shape: Some(tf::TensorShapeProto { dim, unknown_rank: false }),
        tensor_content: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..Default::default()
    }
}

fn predict(
    model_spec: Option<tfs::ModelSpec>,
    inputs: &[(&str, tf::TensorProto)],
) -> tfs::PredictRequest {
    let inputs = inputs.iter().map(|(name, t)| ((*name).to_owned(), t.clone())).collect();
    tfs::PredictRequest { model_spec, inputs, output_filter: Vec::new() }
}

fn x(values: &[f32]) -> [(&'static str, tf::TensorProto); 1] {
    [("x", tensor(&[values.len() as i64 / 2, 2], values))]
}

fn example(features: &[(&str, Kind)]) -> tf::Example {
    let feature = |(name, kind): &(&str, Kind)| {
        ((*name).to_owned(), tf::Feature { kind: Some(kind.clone()) })
    };
    let feature = features.iter().map(feature).collect();
    tf::Example { features: Some(tf::Features { feature }) }
}

fn floats(values: &[f32]) -> Kind {
    Kind::FloatList(tf::FloatList { value: values.to_vec() })
}

fn examples(examples: Vec<tf::Example>) -> Option<tfs::Input> {
    Some(tfs::Input { kind: Some(tfs::input::Kind::ExampleList(tfs::ExampleList { examples })) })
}

/// Two rows for `affine` and `sum`.
fn rows() -> Option<tfs::Input> {
    examples(vec![example(&[("x", floats(&[1.0, 2.0]))]), example(&[("x", floats(&[5.0, 0.0]))])])
}

fn classified(result: Option<tfs::ClassificationResult>) -> Vec<Vec<(String, f32)>> {
    let classes =
        |row: tfs::Classifications| row.classes.into_iter().map(|c| (c.label, c.score)).collect();
    result.unwrap().classifications.into_iter().map(classes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn predict_answers_in_typed_fields_and_tells_what_answered() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let stable = chosen("affine", VersionChoice::VersionLabel("stable".to_owned()));
    let answer = server.predict(predict(stable, &x(&[1.0, 2.0]))).await.unwrap();
    let y = &answer.outputs["y"];
    assert_eq!((y.dtype, &y.float_val[..]), (1, &[1.0, 2.0, 10.0][..]));
    assert!(y.tensor_content.is_empty());
    let dims: Vec<i64> = y.tensor_shape.as_ref().unwrap().dim.iter().map(|d| d.size).collect();
    assert_eq!(dims, [1, 3]);
    let answered = answer.model_spec.unwrap();
    assert_eq!(answered.name, "affine");
    assert_eq!(answered.version_choice, Some(VersionChoice::Version(1)));
    assert_eq!(answered.signature_name, "serving_default");
    // The newest version without a choice, and any by its number.
    for (choice, version) in [(None, 2), (Some(VersionChoice::Version(1)), 1)] {
        let spec = spec("affine").map(|s| tfs::ModelSpec { version_choice: choice, ..s });
        let answer = server.predict(predict(spec, &x(&[1.0, 2.0]))).await.unwrap();
        let answered = answer.model_spec.unwrap().version_choice;
        assert_eq!(answered, Some(VersionChoice::Version(version)));
    }
    // One value for all elements.
    let one = tf::TensorProto {
        float_val: vec![3.0],
        tensor_content: Bytes::new(),
        ..tensor(&[2, 2], &[])
    };
    let answer = server.predict(predict(spec("sum"), &[("x", one)])).await.unwrap();
    assert_eq!(answer.outputs["y"].float_val, [6.0, 6.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_filter_chooses() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let inputs = [("a", tensor(&[1, 2], &[3.0, 4.0])), ("b", tensor(&[1, 2], &[1.0, 2.0]))];
    let filtered = |filter: &[&str]| tfs::PredictRequest {
        output_filter: filter.iter().map(|s| (*s).to_owned()).collect(),
        ..predict(spec("pair"), &inputs)
    };
    let both = server.predict(filtered(&[])).await.unwrap().outputs;
    assert_eq!(both.len(), 2);
    assert_eq!(both["sum"].float_val, [4.0, 6.0]);
    let one = server.predict(filtered(&["difference"])).await.unwrap().outputs;
    assert_eq!(one.keys().collect::<Vec<_>>(), ["difference"]);
    assert_eq!(one["difference"].float_val, [2.0, 2.0]);
    let unknown = server.predict(filtered(&["product"])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument);
    assert!(unknown.message().contains("output tensor alias not found in signature: product"));
    let twice = server.predict(filtered(&["sum", "sum"])).await.unwrap_err();
    assert_eq!(twice.message(), "duplicate output tensor alias: sum");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_predict_request_is_told() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let told = async |request: tfs::PredictRequest, code: Code, says: &str| {
        let status = server.predict(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(says), "{status}");
    };
    let good = x(&[1.0, 2.0]);
    told(predict(None, &good), Code::InvalidArgument, "Missing ModelSpec").await;
    told(predict(spec(""), &good), Code::InvalidArgument, "ModelSpec has no name").await;
    told(predict(spec("none"), &good), Code::NotFound, "Servable not found").await;
    let version = |n| chosen("affine", VersionChoice::Version(n));
    told(predict(version(9), &good), Code::NotFound, "Specific(affine, 9)").await;
    told(predict(version(-1), &good), Code::InvalidArgument, "version -1 is below 0").await;
    let label = chosen("affine", VersionChoice::VersionLabel("beta".to_owned()));
    told(predict(label, &good), Code::InvalidArgument, "label: beta").await;
    told(predict(spec("broken"), &good), Code::Unavailable, "broken has no version").await;
    let signature = spec("sum").map(|s| tfs::ModelSpec { signature_name: "other".to_owned(), ..s });
    told(predict(signature, &good), Code::InvalidArgument, "\"other\" not found").await;
    told(predict(spec("sum"), &[]), Code::InvalidArgument, "input `x` is missing").await;
    let shape = [("x", tensor(&[1, 3], &[1.0; 3]))];
    told(predict(spec("sum"), &shape), Code::InvalidArgument, "sum version 1: input `x` takes")
        .await;
    let short = [("x", tensor(&[1, 2], &[1.0]))];
    told(predict(spec("sum"), &short), Code::InvalidArgument, "takes 8 bytes, got 4").await;
    let claim = tf::TensorProto { float_val: vec![1.0], ..tensor(&[1 << 36, 2], &[]) };
    told(predict(spec("sum"), &[("x", claim)]), Code::InvalidArgument, "takes more than").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_classified_and_regressed() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let model_spec = chosen("affine", VersionChoice::Version(1));
    let request = tfs::ClassificationRequest { model_spec, input: rows() };
    let answer: tfs::ClassificationResponse =
        server.call("PredictionService/Classify", request).await.unwrap();
    let class = |label: &str, score| (label.to_owned(), score);
    let expected =
        [vec![class("c", 10.0), class("b", 2.0)], vec![class("c", 10.0), class("a", 5.0)]];
    assert_eq!(classified(answer.result), expected);
    let answered = answer.model_spec.unwrap().version_choice;
    assert_eq!(answered, Some(VersionChoice::Version(1)));
    let request = tfs::RegressionRequest { model_spec: spec("sum"), input: rows() };
    let answer: tfs::RegressionResponse =
        server.call("PredictionService/Regress", request).await.unwrap();
    let values: Vec<f32> = answer.result.unwrap().regressions.iter().map(|r| r.value).collect();
    assert_eq!(values, [3.0, 5.0]);
    let no_classifier = tfs::ClassificationRequest { model_spec: spec("sum"), input: rows() };
    let status = server
        .call::<_, tfs::ClassificationResponse>("PredictionService/Classify", no_classifier)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("sum version 1: Expected classification signature"));
    let empty = tfs::RegressionRequest { model_spec: spec("sum"), input: None };
    let status = server
        .call::<_, tfs::RegressionResponse>("PredictionService/Regress", empty)
        .await
        .unwrap_err();
    assert_eq!(status.message(), "sum version 1: Input is empty.");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_are_one_run() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "one", 1, &onnx::affine(2, 1, &[1.0, 1.0]));
    let toml = "[output]\nkind = 'classification'\n";
    std::fs::write(dir.path().join("one/model.toml"), toml).unwrap();
    let server = Server::start(dir.path()).await;
    let task = |name: &str, method: &str| tfs::InferenceTask {
        model_spec: spec(name),
        method_name: format!("tensorflow/serving/{method}"),
    };
    let ask = async |tasks: &[tfs::InferenceTask]| {
        let request = tfs::MultiInferenceRequest { tasks: tasks.to_vec(), input: rows() };
        let path = "PredictionService/MultiInference";
        server.call::<_, tfs::MultiInferenceResponse>(path, request).await
    };
    let both = [task("one", "regress"), task("one", "classify")];
    let results = ask(&both).await.unwrap().results;
    let version = results[0].model_spec.as_ref().unwrap().version_choice.clone();
    assert_eq!(version, Some(VersionChoice::Version(1)));
    use tfs::inference_result::Result as One;
    let [Some(One::RegressionResult(numbers)), Some(One::ClassificationResult(classes))] =
        [results[0].result.clone(), results[1].result.clone()]
    else {
        panic!("{results:?}");
    };
    let values: Vec<f32> = numbers.regressions.iter().map(|r| r.value).collect();
    assert_eq!(values, [3.0, 5.0]);
    let classes = classified(Some(classes));
    assert_eq!(classes, [[("0".to_owned(), 3.0)], [("0".to_owned(), 5.0)]]);
    for (tasks, code, says) in [
        (vec![], Code::InvalidArgument, "has no tasks"),
        (vec![task("one", "predict")], Code::Unimplemented, "Unsupported signature method_name"),
        (vec![task("", "regress")], Code::InvalidArgument, "empty model name"),
        (vec![both[0].clone(), both[0].clone()], Code::InvalidArgument, "Duplicate evaluation"),
        (
            vec![both[0].clone(), task("two", "classify")],
            Code::InvalidArgument,
            "must access the same model name",
        ),
    ] {
        let status = ask(&tasks).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(says), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_tells_the_signature() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let ask = async |name: &str, fields: &[&str]| {
        let metadata_field = fields.iter().map(|s| (*s).to_owned()).collect();
        let request = tfs::GetModelMetadataRequest { model_spec: spec(name), metadata_field };
        let path = "PredictionService/GetModelMetadata";
        server.call::<_, tfs::GetModelMetadataResponse>(path, request).await
    };
    let answer = ask("affine", &["signature_def"]).await.unwrap();
    let answered = answer.model_spec.unwrap();
    assert_eq!(answered.version_choice, Some(VersionChoice::Version(2)));
    let any = &answer.metadata["signature_def"];
    assert_eq!(any.type_url, "type.googleapis.com/tensorflow.serving.SignatureDefMap");
    let map = tfs::SignatureDefMap::decode(&any.value[..]).unwrap();
    let signature = &map.signature_def["serving_default"];
    assert_eq!(signature.method_name, "tensorflow/serving/predict");
    let shape = |infos: &HashMap<String, tf::TensorInfo>, name: &str| {
        let info = &infos[name];
        assert_eq!(info.dtype, i32::from(tf::DataType::DtFloat));
        let shape = info.tensor_shape.as_ref().unwrap();
        shape.dim.iter().map(|d| d.size).collect::<Vec<_>>()
    };
    assert_eq!(shape(&signature.inputs, "x"), [-1, 2]);
    assert_eq!(shape(&signature.outputs, "y"), [-1, 3]);
    assert_eq!(ask("affine", &[]).await.unwrap_err().code(), Code::InvalidArgument);
    let status = ask("affine", &["graph"]).await.unwrap_err();
    assert!(status.message().contains("Metadata field graph is not supported"));
    assert_eq!(ask("none", &["signature_def"]).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn model_status_tells_states_by_number() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let ask = async |model_spec| {
        let request = tfs::GetModelStatusRequest { model_spec };
        let path = "ModelService/GetModelStatus";
        let answer = server.call::<_, tfs::GetModelStatusResponse>(path, request).await?;
        let one = |s: tfs::ModelVersionStatus| {
            let status = s.status.unwrap();
            (s.version, s.state, status.error_code, status.error_message)
        };
        Ok::<_, Status>(answer.model_version_status.into_iter().map(one).collect::<Vec<_>>())
    };
    let available = |version| (version, 30, 0, String::new());
    assert_eq!(ask(spec("affine")).await.unwrap(), [available(2), available(1)]);
    let one = ask(chosen("affine", VersionChoice::Version(1))).await.unwrap();
    assert_eq!(one, [available(1)]);
    let label = chosen("affine", VersionChoice::VersionLabel("stable".to_owned()));
    assert_eq!(ask(label).await.unwrap(), [available(1)]);
    let broken = ask(spec("broken")).await.unwrap();
    assert_eq!((broken[0].0, broken[0].1, broken[0].2), (7, 50, 2));
    assert!(broken[0].3.contains("can't load the model"), "{broken:?}");
    assert_eq!(ask(spec("none")).await.unwrap_err().code(), Code::NotFound);
    let missing = ask(chosen("affine", VersionChoice::Version(9))).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(ask(None).await.unwrap_err().message(), "Missing ModelSpec");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_models_replaces_what_is_served() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let ask = async |config| {
        let request = tfs::ReloadConfigRequest { config };
        let path = "ModelService/HandleReloadConfigRequest";
        server.call::<_, tfs::ReloadConfigResponse>(path, request).await
    };
    let list = |config| {
        let list = tfs::ModelConfigList { config };
        let config = Some(tfs::model_server_config::Config::ModelConfigList(list));
        Some(tfs::ModelServerConfig { config })
    };
    let named = |name: &str| tfs::ModelConfig { name: name.to_owned(), ..Default::default() };
    let two = |n: f32| predict(spec("affine"), &[("x", tensor(&[1, 2], &[n, n]))]);
    let served = async || server.predict(two(1.0)).await.map(|a| a.outputs["y"].float_val[0]);

    let refused = ask(None).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("Only ModelConfigList is currently supported"));
    let refused = ask(list(vec![named("affine"), named("nowhere")])).await.unwrap_err();
    assert!(refused.message().contains("nowhere"), "{refused}");
    assert_eq!(served().await.unwrap(), 10.0);

    let mut one = named("affine");
    let policy = tfs::file_system_storage_path_source_config::servable_version_policy::PolicyChoice::Specific(
        tfs::file_system_storage_path_source_config::servable_version_policy::Specific { versions: vec![1] },
    );
    one.model_version_policy =
        Some(tfs::file_system_storage_path_source_config::ServableVersionPolicy {
            policy_choice: Some(policy),
        });
    ask(list(vec![one])).await.unwrap();
    assert_eq!(served().await.unwrap(), 1.0);
    // What is not listed is not served.
    let sum = predict(spec("sum"), &[("x", tensor(&[1, 2], &[1.0, 2.0]))]);
    assert_eq!(server.predict(sum).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_predicted_and_classified() {
    let server = Server::start(Path::new(MODELS)).await;
    let expected = reference("chelsea.jpg");
    let best = expected["predictions"][0]["label"].as_str().unwrap();
    let image = Bytes::from(photo("chelsea.jpg"));
    let value = vec![image.clone()];
    let bytes = Kind::BytesList(tf::BytesList { value: value.clone() });
    let model_spec = spec("efficientnet_lite0");
    let metadata = tfs::GetModelMetadataRequest {
        model_spec: model_spec.clone(),
        metadata_field: vec!["signature_def".to_owned()],
    };
    let metadata: tfs::GetModelMetadataResponse =
        server.call("PredictionService/GetModelMetadata", metadata).await.unwrap();
    let map = &metadata.metadata["signature_def"].value;
    let map = tfs::SignatureDefMap::decode(&map[..]).unwrap();
    let name = map.signature_def["serving_default"].inputs.keys().next().unwrap();
    let input = examples(vec![example(&[(name, bytes)])]);
    let request = tfs::ClassificationRequest { model_spec: model_spec.clone(), input };
    let answer: tfs::ClassificationResponse =
        server.call("PredictionService/Classify", request).await.unwrap();
    assert_eq!(classified(answer.result)[0][0].0, best);
    let tensor = tf::TensorProto {
        dtype: tf::DataType::DtString.into(),
        string_val: value,
        tensor_content: Bytes::new(),
        ..tensor(&[1], &[])
    };
    let answer = server.predict(predict(model_spec, &[(name, tensor)])).await.unwrap();
    let scores = &answer.outputs.values().next().unwrap().float_val;
    assert_eq!(scores.len(), 1000);
}

/// The real server, and a client of it.
struct Server {
    channel: tonic::transport::Channel,
    _server: support::Server,
}

impl Server {
    async fn start(models: &Path) -> Server {
        let flags = ["--allow-control=true"];
        let server = support::Server::start_with(models.to_str().unwrap(), &flags);
        let channel = tonic::transport::Channel::from_shared(server.grpc_url("")).unwrap();
        Server { channel: channel.connect_lazy(), _server: server }
    }

    async fn predict(&self, request: tfs::PredictRequest) -> Result<tfs::PredictResponse, Status> {
        self.call("PredictionService/Predict", request).await
    }

    async fn call<Q, A>(&self, rpc: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = format!("/tensorflow.serving.{rpc}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::default();
        Ok(client.unary(tonic::Request::new(request), path, codec).await?.into_inner())
    }
}
