//! `Classify`, `Regress` and `MultiInference`: examples in, labels with scores or numbers out
//! (apis/{classification,regression,inference}.proto, servables/tensorflow/multi_inference.cc).

use std::sync::Arc;

use super::compute::{compute, encode};
use super::example::{self, once};
use super::spec;
use crate::error::InferError;
use crate::protocol::body::Share;
use crate::protocol::grpc::call::{Context, finish};
use crate::protocol::grpc::wire::Fields;
use crate::protocol::pb::tensorflow::serving::inference_result::Result as OneResult;
use crate::protocol::pb::tensorflow::serving::{
    Class, ClassificationResponse, ClassificationResult, Classifications, InferenceResult,
    InferenceTask, ModelSpec, MultiInferenceResponse, Regression, RegressionResponse,
    RegressionResult,
};
use crate::protocol::tfs::{answer, decode::check_signature};
use crate::router::ServedVersion;
use crate::service::{Response as Computed, Routed};
use crate::tensor::Data;

/// A `ClassificationRequest` or a `RegressionRequest`, which are alike.
#[derive(Debug, Default)]
pub struct Infer {
    spec: Option<ModelSpec>,
    input: Data,
}

/// A `MultiInferenceRequest`.
#[derive(Debug, Default)]
pub struct Tasks {
    methods: Vec<Method>,
    signatures: Vec<String>,
    spec: ModelSpec,
    input: Data,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Classify,
    Regress,
}

/// Reads a message apart from its examples.
pub fn decode(data: Data) -> Result<Infer, InferError> {
    let (mut spec, mut input) = (None::<ModelSpec>, None);
    for field in Fields::new(&data, "ClassificationRequest or RegressionRequest") {
        let field = field?;
        match field.number {
            1 => field.merge(spec.get_or_insert_default())?,
            2 => once(field, &mut input)?,
            _ => {}
        }
    }
    Ok(Infer { spec, input: input.unwrap_or_default() })
}

/// Reads tasks, which all are of one model, apart from the examples.
pub fn decode_tasks(data: Data) -> Result<Tasks, InferError> {
    let (mut tasks, mut input) = (Tasks::default(), None);
    for field in Fields::new(&data, "MultiInferenceRequest") {
        let field = field?;
        match field.number {
            1 => {
                let mut task = InferenceTask::default();
                field.merge(&mut task)?;
                tasks.add(task)?;
            }
            2 => once(field, &mut input)?,
            _ => {}
        }
    }
    if tasks.methods.is_empty() {
        return Err(invalid("MultiInferenceRequest has no tasks"));
    }
    tasks.input = input.unwrap_or_default();
    Ok(tasks)
}

impl Tasks {
    fn add(&mut self, task: InferenceTask) -> Result<(), InferError> {
        let method = match task.method_name.as_str() {
            "tensorflow/serving/classify" => Method::Classify,
            "tensorflow/serving/regress" => Method::Regress,
            other => {
                let what = format!(
                    "Unsupported signature method_name: {other}; there are \
                     tensorflow/serving/classify and tensorflow/serving/regress"
                );
                return Err(InferError::Unimplemented(what));
            }
        };
        // There is one signature, so a task that comes again is the same task.
        if self.methods.contains(&method) {
            let name = &task.method_name;
            return Err(invalid(format!("Duplicate evaluation of signature: {name} comes twice")));
        }
        let spec = task.model_spec.unwrap_or_default();
        if spec.name.is_empty() {
            return Err(invalid("Found ModelSpec with an empty model name."));
        }
        self.signatures.push(spec.signature_name.clone());
        if self.methods.is_empty() {
            self.spec = spec;
        } else if spec.name != self.spec.name {
            let what = "All ModelSpecs in a MultiInferenceRequest must access the same model name.";
            return Err(invalid(what));
        } else if spec.version_choice.is_some() && spec.version_choice != self.spec.version_choice {
            let what = "All ModelSpecs in a MultiInferenceRequest must access the same version.";
            return Err(invalid(what));
        }
        self.methods.push(method);
        Ok(())
    }
}

/// The RPC.
pub async fn classify(
    context: Arc<Context>,
    request: Infer,
) -> Result<ClassificationResponse, InferError> {
    let answer = |version: &ServedVersion, computed: &Computed| {
        let result = Some(classification(version, computed)?);
        Ok(ClassificationResponse { result, model_spec: Some(spec::answered(version)) })
    };
    one(&context, "Classify", request, answer).await
}

/// The RPC.
pub async fn regress(
    context: Arc<Context>,
    request: Infer,
) -> Result<RegressionResponse, InferError> {
    let answer = |version: &ServedVersion, computed: &Computed| {
        let result = Some(regression(version, computed)?);
        Ok(RegressionResponse { result, model_spec: Some(spec::answered(version)) })
    };
    one(&context, "Regress", request, answer).await
}

/// The RPC: one run answers all tasks.
pub async fn multi(
    context: Arc<Context>,
    request: Tasks,
) -> Result<MultiInferenceResponse, InferError> {
    let Tasks { methods, signatures, spec, input } = request;
    let answer = move |version: &ServedVersion, computed: &Computed| {
        let one = |method: Method| {
            let result = match method {
                Method::Classify => {
                    OneResult::ClassificationResult(classification(version, computed)?)
                }
                Method::Regress => OneResult::RegressionResult(regression(version, computed)?),
            };
            let model_spec = Some(spec::answered(version));
            Ok(InferenceResult { model_spec, result: Some(result) })
        };
        let results: Result<_, InferError> = methods.into_iter().map(one).collect();
        Ok(MultiInferenceResponse { results: results? })
    };
    let routed = context.route(&spec::read(Some(&spec))?, "MultiInference").await?;
    let answer = run(&context, &routed, &signatures, input, answer).await;
    finish(routed, answer)
}

async fn one<R: Send + 'static>(
    context: &Context,
    call: &'static str,
    request: Infer,
    answer: impl FnOnce(&ServedVersion, &Computed) -> Result<R, InferError> + Send + 'static,
) -> Result<R, InferError> {
    let routed = context.route(&spec::read(request.spec.as_ref())?, call).await?;
    let signature = request.spec.unwrap_or_default().signature_name;
    let answer = run(context, &routed, &[signature], request.input, answer).await;
    finish(routed, answer)
}

async fn run<R: Send + 'static>(
    context: &Context,
    routed: &Routed,
    signatures: &[String],
    input: Data,
    answer: impl FnOnce(&ServedVersion, &Computed) -> Result<R, InferError> + Send + 'static,
) -> Result<R, InferError> {
    let (shared, version) = (&context.shared, &routed.version);
    signatures.iter().try_for_each(|name| check_signature(version, name))?;
    let blame = |e: InferError| version.invalid(e.to_string());
    let examples = example::read(&input).map_err(blame)?;
    let limit = shared.bodies.limit();
    let growth = examples.growth(limit);
    let mut share = Share::default();
    shared.bodies.grow(&mut share, growth)?;
    let decode = move |version: &ServedVersion| {
        let image = version.image_input().map(|spec| spec.name.as_str());
        let inputs = examples.inputs(&version.signature().inputs, image, limit);
        inputs.map_err(|e| version.invalid(e.to_string()))
    };
    let computed = compute(context, routed, input.len() + growth, decode).await?;
    let (version, bytes) = (version.clone(), computed.bytes());
    encode(context, routed, bytes, move || answer(&version, &computed)).await?
}

fn classification(
    version: &ServedVersion,
    computed: &Computed,
) -> Result<ClassificationResult, InferError> {
    let class = |(label, score)| Class { label, score };
    let row =
        |classes: Vec<_>| Classifications { classes: classes.into_iter().map(class).collect() };
    let rows = answer::classes(version, None, computed)?;
    Ok(ClassificationResult { classifications: rows.into_iter().map(row).collect() })
}

fn regression(
    version: &ServedVersion,
    computed: &Computed,
) -> Result<RegressionResult, InferError> {
    let values = answer::values(version, &computed.outputs)?;
    let regressions = values.into_iter().map(|value| Regression { value }).collect();
    Ok(RegressionResult { regressions })
}

fn invalid(what: impl Into<String>) -> InferError {
    InferError::Invalid(what.into())
}
