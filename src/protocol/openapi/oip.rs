//! The Open Inference Protocol's REST API, whose routes are in `protocol/oip/rest`.

use serde_json::json;
use utoipa::openapi::Required;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::document::Group;
use super::inference::{FAILS, HEADERS, inference, model, timeout, version};
use super::operation::Operation;
use super::schemas::{
    AllStatistics, ControlRequest, Done, IndexRequest, InferAnswer, InferRequest, ModelNames,
    ModelReady, RepositoryIndex,
};
use crate::error::Code;
use crate::protocol::http::{Live, Ready};
use crate::protocol::oip::model::{ModelConfig, ModelMetadata, ServerMetadata};

/// Told of a body that has bytes behind its JSON.
const LENGTH: &str = "inference-header-content-length";

pub fn group() -> Group {
    let mut operations = of_server();
    operations.extend(["", "_version"].into_iter().flat_map(of_model));
    operations.extend(["load", "unload"].map(control));
    Group {
        name: "Open Inference Protocol",
        what: "The Open Inference Protocol (V2), with Triton's extensions that its clients use.",
        operations,
    }
}

fn of_server() -> Vec<Operation> {
    vec![
        Operation::get("/v2", "server_metadata", "What the server is")
            .gives::<ServerMetadata>("Its name, version and extensions."),
        Operation::get("/v2/health/live", "server_live", "Whether the server runs")
            .open()
            .gives::<Live>("It does."),
        Operation::get("/v2/health/ready", "server_ready", "Whether requests should come here")
            .open()
            .gives::<Ready>("They should.")
            .gives_with::<Ready>(503, &[], "Models are still loading, or the server is stopping."),
        Operation::get("/v2/models", "models", "The models")
            .told("KServe's list, which neither the specification nor Triton has.")
            .gives::<ModelNames>("Their names."),
        Operation::get("/v2/models/stats", "statistics", "Sums over requests, of all models")
            .gives::<AllStatistics>("By version."),
        Operation::post("/v2/repository/index", "repository_index", "Every version known")
            .takes::<IndexRequest>(Required::False, json!({ "ready": true }))
            .gives::<RepositoryIndex>("By model and version.")
            .fails(&[
                Code::InvalidArgument,
                Code::TooLarge,
                Code::Unavailable,
                Code::DeadlineExceeded,
            ]),
    ]
}

/// The operations on a model, or on one of its versions.
fn of_model(by: &str) -> Vec<Operation> {
    let place = match by {
        "" => "/v2/models/{model}",
        _ => "/v2/models/{model}/versions/{version}",
    };
    let named = |operation: Operation| match by {
        "" => model(operation),
        _ => version(model(operation)),
    };
    let get = |end: &str, name: &str, summary: &str| {
        let operation = Operation::get(&format!("{place}{end}"), &format!("{name}{by}"), summary);
        named(operation).fails(&[Code::InvalidArgument, Code::NotFound])
    };
    let length = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
    let infer =
        Operation::post(&format!("{place}/infer"), &format!("infer{by}"), "Tensors into tensors");
    vec![
        get("", "model_metadata", "A model's inputs and outputs")
            .gives::<ModelMetadata>("Of the version that is meant.")
            .fails(&[Code::Unavailable]),
        get("/ready", "model_ready", "Whether a model could answer now")
            .gives::<ModelReady>("It could.")
            .gives_with::<ModelReady>(503, &[], "It could not."),
        get("/config", "model_config", "How a model is served")
            .gives::<ModelConfig>("In the words of Triton's `config.pbtxt`.")
            .fails(&[Code::Unavailable]),
        get("/stats", "model_statistics", "Sums over a model's requests")
            .gives::<AllStatistics>("By version.")
            .fails(&[Code::Unavailable]),
        inference(named(infer))
            .told(
                "A body may have bytes behind its JSON, which the header \
                 `inference-header-content-length` then tells the end of; they are the inputs with a \
                 parameter `binary_data_size`, in their order. A length of 0 says that there is no \
                 JSON: the body is one row of the only input. The answer is built the same way, and \
                 `application/octet-stream`, if any output is asked for with `binary_data`. Byte \
                 strings for an image input are image files.",
            )
            .header_of(LENGTH, "Bytes of the JSON, if others follow.", length)
            .takes::<InferRequest>(Required::True, example())
            .takes_bytes(&["application/octet-stream"])
            .gives_either::<InferAnswer>(
                "application/octet-stream",
                &[HEADERS[0], HEADERS[1], HEADERS[2], HEADERS[3], (LENGTH, "Bytes of the JSON, if others follow.")],
                "The outputs.",
            )
            .fails(&FAILS)
            .fails(&[Code::Unimplemented]),
    ]
}

fn control(verb: &str) -> Operation {
    let path = format!("/v2/repository/models/{{model}}/{verb}");
    let (summary, given) = match verb {
        "load" => ("Loads a model as its directory has it", "It serves."),
        _ => ("Unloads a model", "It is gone."),
    };
    timeout(model(Operation::post(&path, &format!("repository_model_{verb}"), summary)))
        .told("Refused unless the server was started with `--allow-control true`.")
        .takes::<ControlRequest>(Required::False, json!({}))
        .gives::<Done>(given)
        .fails(&FAILS)
        .fails(&[Code::Aborted, Code::Unimplemented])
}

fn example() -> serde_json::Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0] }] })
}
