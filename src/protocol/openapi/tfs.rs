//! TensorFlow Serving's REST API, which `protocol/tfs` takes apart by itself below one route.

use serde_json::json;
use utoipa::openapi::Required;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::document::Group;
use super::inference::{FAILS, HEADERS, inference, model, name, version};
use super::operation::Operation;
use super::schemas::{
    ClassifyAnswer, ExamplesRequest, Images, ModelNames, PredictAnswer, PredictRequest,
    RegressAnswer,
};
use crate::error::Code;
use crate::protocol::feedback::{FeedbackAnswer, FeedbackRequest};
use crate::protocol::tfs::status::{ModelStatus, ServingMetadata};

const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];

pub fn group() -> Group {
    let mut operations = vec![
        Operation::get("/v1/models", "tfs_models", "The models")
            .told("KServe's list, which TensorFlow Serving has not.")
            .gives::<ModelNames>("Their names."),
    ];
    operations.push(
        model(Operation::post(
            "/v1/models/{model}:feedback",
            "feedback",
            "What became of an answer",
        ))
        .told("Not TensorFlow Serving's. At least one of label, correct, reward and value.")
        .takes::<FeedbackRequest>(
            Required::True,
            json!({ "request_id": "of the answer: x-ocelli-request-id", "label": 3 }),
        )
        .gives::<FeedbackAnswer>("Whether it counts.")
        .fails(&[
            Code::InvalidArgument,
            Code::TooLarge,
            Code::Unavailable,
            Code::DeadlineExceeded,
        ]),
    );
    operations.extend(["", "_version", "_label"].into_iter().flat_map(of_model));
    Group {
        name: "TensorFlow Serving",
        what: "TensorFlow Serving's REST API, and beside its JSON, images as they are.",
        operations,
    }
}

/// The operations on a model, or on the version that a number or a label picks.
fn of_model(by: &str) -> Vec<Operation> {
    let place = match by {
        "_version" => "/v1/models/{model}/versions/{version}",
        "_label" => "/v1/models/{model}/labels/{label}",
        _ => "/v1/models/{model}",
    };
    let named = |operation: Operation| match by {
        "_version" => version(model(operation)),
        "_label" => model(operation).segment("label", "A label of its `model.toml`.", name()),
        _ => model(operation),
    };
    let post = |verb: &str, summary: &str| {
        let path = format!("{place}:{verb}");
        let operation = Operation::post(&path, &format!("tfs_{verb}{by}"), summary);
        inference(named(operation))
            .query("top_k", "So many classes.", count())
            .takes_bytes(&IMAGES)
            .takes_form::<Images>()
            .fails(&FAILS)
    };
    let known = [Code::InvalidArgument, Code::NotFound];
    vec![
        named(Operation::get(place, &format!("tfs_status{by}"), "How a model's versions fare"))
            .gives::<ModelStatus>("The newest first.")
            .fails(&known),
        named(Operation::get(
            &format!("{place}/metadata"),
            &format!("tfs_metadata{by}"),
            "A model's inputs and outputs",
        ))
        .gives::<ServingMetadata>("The one signature there is.")
        .fails(&known)
        .fails(&[Code::Unavailable]),
        post("predict", "Images or tensors into answers or tensors")
            .query("output", "`tensors` asks for an image's raw outputs.", output())
            .takes::<PredictRequest>(Required::True, json!({ "instances": [[1.0, 2.0, 3.0]] }))
            .gives_with::<PredictAnswer>(200, &HEADERS, "What the model says."),
        post("classify", "Examples into labels")
            .takes::<ExamplesRequest>(
                Required::True,
                json!({ "examples": [{ "x": [1.0, 2.0, 3.0] }] }),
            )
            .gives_with::<ClassifyAnswer>(200, &HEADERS, "Labels with scores."),
        post("regress", "Examples into numbers")
            .takes::<ExamplesRequest>(
                Required::True,
                json!({ "examples": [{ "x": [1.0, 2.0, 3.0] }] }),
            )
            .gives_with::<RegressAnswer>(200, &HEADERS, "A number each."),
    ]
}

fn count() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build()
}

fn output() -> Object {
    let words = ["answers", "tensors"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}
