//! Types of bodies that the code reads and writes by hand, and so has no type for. Each says where
//! that is done. They are here to be described: nothing makes one.

#![allow(dead_code, reason = "only their descriptions are used")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::protocol::oip::model::{ModelIndex, ModelStatistics};
use crate::tensor::DType;
use crate::vision::{Class, Detection};

/// Names of models, in order. Written in `protocol/tfs` and `protocol/oip/rest/server.rs`.
#[derive(ToSchema)]
pub struct ModelNames {
    models: Vec<String>,
}

/// Rows or columns of values. Read in `protocol/tfs/json/parse.rs`.
#[derive(ToSchema)]
pub struct PredictRequest {
    /// `serving_default`, the one there is.
    signature_name: Option<String>,
    /// Rows: each a value of the only input, or an object of values by input. An encoded image is
    /// `{"b64": "…"}`.
    #[schema(nullable = false)]
    instances: Option<Vec<Value>>,
    /// Instead of rows: the value of the only input, or an object of values by input.
    #[schema(value_type = Value, required = false)]
    inputs: Option<Value>,
}

/// Examples. Read in `protocol/tfs/json/parse.rs`.
#[derive(ToSchema)]
pub struct ExamplesRequest {
    /// `serving_default`, the one there is.
    signature_name: Option<String>,
    /// Values by input, for each example that does not have its own.
    #[schema(nullable = false)]
    context: Option<BTreeMap<String, Value>>,
    /// Values by input.
    examples: Vec<BTreeMap<String, Value>>,
}

/// Images, in parts of any name. Read in `protocol/tfs/decode.rs`.
#[derive(ToSchema)]
pub struct Images {
    /// A JPEG, PNG, WebP or GIF file.
    #[schema(format = Binary)]
    file: String,
}

/// What a model says of a row. Written in `protocol/tfs/answer.rs` and `protocol/tfs/json/encode.rs`.
pub struct Prediction;

impl PartialSchema for Prediction {
    fn schema() -> RefOr<Schema> {
        let listed = |name: Cow<'_, str>| ArrayBuilder::new().items(Ref::from_schema_name(name));
        let tensors = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        let what = "For an image, what the model is declared to answer: classes or detections, best \
                    first. Else, or with `output=tensors`, the row of the output, or an object of \
                    rows by output. Numbers that are not finite are `NaN`, `Infinity` and \
                    `-Infinity`, as TensorFlow Serving writes them, which strict JSON has not.";
        let any = AnyOfBuilder::new()
            .item(listed(Class::name()))
            .item(listed(Detection::name()))
            .item(tensors);
        RefOr::T(Schema::AnyOf(any.description(Some(what)).build()))
    }
}

impl ToSchema for Prediction {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Class::name().into_owned(), Class::schema()));
        schemas.push((Detection::name().into_owned(), Detection::schema()));
    }
}

/// `predictions` for rows, `outputs` for columns. Written in `protocol/tfs/answer.rs`.
#[derive(ToSchema)]
pub struct PredictAnswer {
    /// By row.
    #[schema(nullable = false)]
    predictions: Option<Vec<Prediction>>,
    /// The value of the only output, or an object of values by output.
    #[schema(value_type = Value, required = false)]
    outputs: Option<Value>,
}

/// The best classes of each example, best first. Written in `protocol/tfs/json/encode.rs`.
#[derive(ToSchema)]
pub struct ClassifyAnswer {
    /// Pairs of a label and its score.
    results: Vec<Vec<Vec<Value>>>,
}

/// A number for each example. Written in `protocol/tfs/json/encode.rs`.
#[derive(ToSchema)]
pub struct RegressAnswer {
    results: Vec<f64>,
}

/// An element type.
pub struct Datatype;

impl PartialSchema for Datatype {
    fn schema() -> RefOr<Schema> {
        let names = DType::ALL.iter().map(|dtype| dtype.name());
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        text.description(Some("An element type.")).build().into()
    }
}

impl ToSchema for Datatype {}

/// A whole request of the Open Inference Protocol. Read in `protocol/oip/rest/json`. Members that are
/// not known are passed over.
#[derive(ToSchema)]
pub struct InferRequest {
    /// Given back.
    id: Option<String>,
    parameters: Option<InferParameters>,
    inputs: Vec<InferInput>,
    /// The outputs that are wanted; none means all.
    outputs: Option<Vec<WantedOutput>>,
}

/// What a request asks for as a whole.
#[derive(ToSchema)]
pub struct InferParameters {
    /// 1 goes first, 2 is the rule, what is higher comes last; 0 is unsaid.
    priority: Option<u64>,
    /// Microseconds that the request has; 0 is unsaid.
    timeout: Option<u64>,
    /// Whether outputs are wanted as bytes behind the JSON, where they don't say themselves.
    binary_data_output: Option<bool>,
}

/// An input. Either `data` or the parameter `binary_data_size` has its elements.
#[derive(ToSchema)]
pub struct InferInput {
    name: String,
    datatype: Datatype,
    shape: Vec<u32>,
    parameters: Option<InputParameters>,
    /// Elements in row-major order, flat or nested. `BYTES` are strings.
    data: Option<Vec<Value>>,
}

/// Where an input is.
#[derive(ToSchema)]
pub struct InputParameters {
    /// So many of the bytes behind the JSON are it.
    binary_data_size: Option<u64>,
}

/// An output that is wanted.
#[derive(ToSchema)]
pub struct WantedOutput {
    name: String,
    parameters: Option<OutputParameters>,
}

/// How an output is wanted.
#[derive(ToSchema)]
pub struct OutputParameters {
    /// The best so many classes as `score:index:label` instead of the tensor; 0 is the tensor.
    classification: Option<u64>,
    /// Whether it is wanted as bytes behind the JSON.
    binary_data: Option<bool>,
}

/// The answer. Written in `protocol/oip/rest/encode.rs`.
#[derive(ToSchema)]
pub struct InferAnswer {
    /// The request's, if it had one.
    #[schema(nullable = false)]
    id: Option<String>,
    model_name: String,
    model_version: String,
    outputs: Vec<InferOutput>,
}

/// An output.
#[derive(ToSchema)]
pub struct InferOutput {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    #[schema(nullable = false)]
    parameters: Option<BinaryOutput>,
    /// Elements in row-major order, flat. Numbers that are not finite are `NaN`, `Infinity` and
    /// `-Infinity`.
    #[schema(nullable = false)]
    data: Option<Vec<Value>>,
}

/// Where an output without `data` is.
#[derive(ToSchema)]
pub struct BinaryOutput {
    /// So many of the bytes behind the JSON are it.
    binary_data_size: u64,
}

/// Whether a model could answer now. Written in `protocol/oip/rest/model.rs`.
#[derive(ToSchema)]
pub struct ModelReady {
    name: String,
    ready: bool,
}

/// Sums since the versions were loaded. Written in `protocol/oip/rest/model.rs`.
#[derive(ToSchema)]
pub struct AllStatistics {
    model_stats: Vec<ModelStatistics>,
}

/// What to list. Read in `protocol/oip/rest/repository.rs`.
#[derive(ToSchema)]
pub struct IndexRequest {
    /// Whether only what is ready is listed.
    ready: Option<bool>,
}

/// The versions. Written in `protocol/oip/rest/repository.rs`.
#[derive(ToSchema)]
pub struct RepositoryIndex(Vec<ModelIndex>);

/// How to load or unload. Read in `protocol/oip/rest/repository.rs`.
#[derive(ToSchema)]
pub struct ControlRequest {
    /// `config` and `file:…` are refused: a model is loaded as its directory has it.
    parameters: Option<BTreeMap<String, Value>>,
}

/// An empty object. Written in `protocol/oip/rest/repository.rs`.
#[derive(ToSchema)]
pub struct Done {}
