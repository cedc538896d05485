//! What the inference operations of all protocols share.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::operation::Operation;
use crate::error::Code;

/// Ways in which a model may not answer.
pub const FAILS: [Code; 6] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::TooLarge,
    Code::UnsupportedMedia,
    Code::Unavailable,
    Code::DeadlineExceeded,
];

/// What an answer has for headers.
pub const HEADERS: [(&str, &str); 4] = [
    ("x-ocelli-model-version", "The version that answered."),
    ("x-ocelli-engine", "The engine that computed it."),
    ("x-ocelli-precision", "What it computed in: f32 or bf16."),
    ("x-ocelli-cache", "`hit` or `miss`, for a model that keeps its answers."),
];

/// The headers of a request that computes.
pub fn inference(operation: Operation) -> Operation {
    let words = ["high", "normal", "low"];
    let priority = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build();
    timeout(operation)
        .header_of("x-ocelli-priority", "Who goes first where requests wait.", priority)
        .header("traceparent", "W3C's: the span that the request's own spans go below.")
}

/// The header of a request that need not wait for ever.
pub fn timeout(operation: Operation) -> Operation {
    let ms =
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(3_600_000));
    operation.header_of("x-request-timeout-ms", "The time the request has.", ms.build())
}

/// The model in the path.
pub fn model(operation: Operation) -> Operation {
    operation.segment("model", "The model's name.", name())
}

/// The version in the path.
pub fn version(operation: Operation) -> Operation {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
    operation.segment("version", "The version's number.", number)
}

/// A name of a model or a label.
pub fn name() -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[^/:]+$")).build()
}
