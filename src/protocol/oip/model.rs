//! What is told of the server and its models. The fields are those of the REST bodies; the gRPC
//! door has messages of the same.

use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::{BatchMode, Dim, Precision, TensorSpec};
use crate::error::InferError;
use crate::router::{ModelSpec, Nobody, Router, Selector, ServedVersion, VersionState};
use crate::tensor::DType;
use crate::vision::Layout;

/// The extensions of the protocol that are served (docs/protocol/README.md of Triton).
pub const EXTENSIONS: [&str; 7] = [
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// The server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerMetadata {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it serves beside the plain protocol.
    pub extensions: [&'static str; EXTENSIONS.len()],
}

impl ServerMetadata {
    /// Of this build.
    pub const THIS: ServerMetadata = ServerMetadata {
        name: "ocelli",
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    };
}

/// An input or output.
#[derive(Debug, Serialize, ToSchema)]
pub struct TensorMetadata {
    /// The model's name for it.
    pub name: String,
    /// Such as `FP32`.
    pub datatype: &'static str,
    /// The batch first, where there is one; -1 is a length that each request chooses.
    pub shape: Vec<i64>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelMetadata {
    /// Its name.
    pub name: String,
    /// The versions that can be asked.
    pub versions: Vec<String>,
    /// The engine and the format, and what it computes in if that isn't f32: `ENGINE_onnx`, `ENGINE_onnx_bf16`.
    pub platform: String,
    /// What goes in.
    pub inputs: Vec<TensorMetadata>,
    /// What comes out.
    pub outputs: Vec<TensorMetadata>,
}

/// An input in a model's configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputConfig {
    /// The model's name for it.
    pub name: String,
    /// Such as `TYPE_FP32`.
    pub data_type: String,
    /// `FORMAT_NCHW` or `FORMAT_NHWC` for an image, else `FORMAT_NONE`.
    pub format: &'static str,
    /// Without the batch, if `max_batch_size` is not 0.
    pub dims: Vec<i64>,
}

/// An output in a model's configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutputConfig {
    /// The model's name for it.
    pub name: String,
    /// Such as `TYPE_FP32`.
    pub data_type: String,
    /// Without the batch, if `max_batch_size` is not 0.
    pub dims: Vec<i64>,
    /// The file that names its classes; empty if there is none.
    pub label_filename: String,
}

/// How many run at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceGroup {
    /// The group's name.
    pub name: String,
    /// `KIND_CPU`.
    pub kind: &'static str,
    /// Batches that may run at once.
    pub count: usize,
}

/// What happens to what waits too long, or is too much.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuePolicy {
    /// `REJECT`.
    pub timeout_action: &'static str,
    /// Whether a request may say how long it waits.
    pub allow_timeout_override: bool,
    /// Rows that may wait.
    pub max_queue_size: usize,
}

/// How requests are joined.
#[derive(Debug, Serialize, ToSchema)]
pub struct DynamicBatching {
    /// How long an idle engine waits for a fuller batch.
    pub max_queue_delay_microseconds: u64,
    /// 1 to this; 1 goes first.
    pub priority_levels: u64,
    /// What a request has that does not say.
    pub default_priority_level: u64,
    /// What happens to what waits too long.
    pub default_queue_policy: QueuePolicy,
}

/// Whether a request may have several answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionPolicy {
    /// It may not.
    pub decoupled: bool,
}

/// How a model is served (docs/protocol/extension_model_configuration.md).
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelConfig {
    /// Its name.
    pub name: String,
    /// As in the metadata.
    pub platform: String,
    /// The engine.
    pub backend: &'static str,
    /// Rows of a batch at most; 0 if its tensors don't lead with a batch that can vary. A request
    /// may bring more: it is split.
    pub max_batch_size: usize,
    /// What goes in.
    pub input: Vec<InputConfig>,
    /// What comes out.
    pub output: Vec<OutputConfig>,
    /// How many run at once.
    pub instance_group: [InstanceGroup; 1],
    /// The file of a version.
    pub default_model_filename: &'static str,
    /// How requests are joined, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    /// One answer a request.
    pub model_transaction_policy: TransactionPolicy,
}

/// How often, and how long in all.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Duration {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

/// Sums over requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct InferStatistics {
    /// Requests that were answered.
    pub success: Duration,
    /// Requests that were not.
    pub fail: Duration,
    /// Work that waited.
    pub queue: Duration,
    /// Images into tensors.
    pub compute_input: Duration,
    /// Runs of the engine that requests shared, with the copy into the batch.
    pub compute_infer: Duration,
    /// Nothing is left to do then.
    pub compute_output: Duration,
    /// Answers that were kept, if the model has a cache.
    pub cache_hit: Duration,
    /// Answers that were not, and were computed.
    pub cache_miss: Duration,
}

/// Sums over the runs of one batch size.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchStatistics {
    /// Rows of the runs.
    pub batch_size: u64,
    /// Part of `compute_infer`.
    pub compute_input: Duration,
    /// Runs of the engine.
    pub compute_infer: Duration,
    /// Nothing is left to do then.
    pub compute_output: Duration,
}

/// Sums since a version was loaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelStatistics {
    /// The model.
    pub name: String,
    /// The version.
    pub version: String,
    /// When the last request ended: milliseconds since the epoch.
    pub last_inference: u64,
    /// Rows computed.
    pub inference_count: u64,
    /// Runs of the engine.
    pub execution_count: u64,
    /// Over requests.
    pub inference_stats: InferStatistics,
    /// Over runs, by their rows.
    pub batch_stats: Vec<BatchStatistics>,
}

/// A version in the repository's index.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelIndex {
    /// The model.
    pub name: String,
    /// The version; empty if the model has none.
    pub version: String,
    /// `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready, or why its newest files are not what is served.
    pub reason: String,
}

/// What is told of a model, of the version that `spec` means.
pub fn metadata(router: &Router, spec: &ModelSpec) -> Result<ModelMetadata, InferError> {
    let snapshot = router.snapshot();
    let version = snapshot.route(spec, &Nobody)?.version;
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor).collect();
    let versions = match spec.selector {
        Selector::Traffic => snapshot.model(&spec.model)?.versions.keys().copied().collect(),
        _ => vec![version.info.version],
    };
    Ok(ModelMetadata {
        name: spec.model.clone(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: platform(&version),
        inputs: tensors(&version.signature().inputs),
        outputs: tensors(&version.signature().outputs),
    })
}

/// How a model is served.
pub fn config(router: &Router, spec: &ModelSpec) -> Result<ModelConfig, InferError> {
    let version = router.version(spec)?;
    let (signature, limits) = (version.signature(), version.queue.limits());
    let by_rows = signature.batch_mode == BatchMode::Rows;
    let dims = |spec: &TensorSpec| tensor(spec).shape[usize::from(by_rows)..].to_vec();
    let input = |(at, spec): (usize, &TensorSpec)| InputConfig {
        name: spec.name.clone(),
        data_type: type_name(spec.dtype),
        format: match &version.image {
            Some((image, pipeline)) if *image == at => match pipeline.layout() {
                Layout::Nchw => "FORMAT_NCHW",
                Layout::Nhwc => "FORMAT_NHWC",
            },
            _ => "FORMAT_NONE",
        },
        dims: dims(spec),
    };
    let output = |(at, spec): (usize, &TensorSpec)| OutputConfig {
        name: spec.name.clone(),
        data_type: type_name(spec.dtype),
        dims: dims(spec),
        label_filename: match &version.info.labels {
            Some((output, file)) if *output == at => file.clone(),
            _ => String::new(),
        },
    };
    Ok(ModelConfig {
        name: spec.model.clone(),
        platform: platform(&version),
        backend: version.info.engine,
        max_batch_size: if by_rows { limits.max_batch } else { 0 },
        input: signature.inputs.iter().enumerate().map(input).collect(),
        output: signature.outputs.iter().enumerate().map(output).collect(),
        instance_group: [InstanceGroup {
            name: format!("{}_0", spec.model),
            kind: "KIND_CPU",
            count: limits.instances,
        }],
        default_model_filename: version.info.format.file_name(),
        dynamic_batching: (by_rows && limits.max_batch > 1).then_some(DynamicBatching {
            max_queue_delay_microseconds: limits.max_queue_delay.as_micros() as u64,
            priority_levels: 3,
            default_priority_level: 2,
            default_queue_policy: QueuePolicy {
                timeout_action: "REJECT",
                allow_timeout_override: true,
                max_queue_size: limits.max_queue_rows,
            },
        }),
        model_transaction_policy: TransactionPolicy { decoupled: false },
    })
}

/// Sums of one version, of all versions of a model, or of all models if `model` is empty.
pub fn statistics(
    router: &Router,
    model: &str,
    version: &str,
) -> Result<Vec<ModelStatistics>, InferError> {
    let snapshot = router.snapshot();
    if model.is_empty() {
        let mut all: Vec<_> = snapshot.models.values().flat_map(|m| m.versions.values()).collect();
        all.sort_by_key(|v| (v.info.model.clone(), v.info.version));
        return Ok(all.into_iter().map(|v| sums(v)).collect());
    }
    if version.is_empty() {
        return Ok(snapshot.model(model)?.versions.values().map(|v| sums(v)).collect());
    }
    let version = snapshot.route(&super::infer::spec(model, version)?, &Nobody)?.version;
    Ok(vec![sums(&version)])
}

/// Every version known, or only those that are ready.
pub fn index(router: &Router, only_ready: bool) -> Vec<ModelIndex> {
    let snapshot = router.snapshot();
    let mut index = Vec::new();
    for (name, model) in &snapshot.models {
        if model.statuses.is_empty() {
            index.push(ModelIndex {
                name: name.clone(),
                version: String::new(),
                state: "UNAVAILABLE",
                reason: model.problem.clone().unwrap_or_else(|| "it has no version".to_owned()),
            });
        }
        index.extend(model.statuses.iter().map(|(version, status)| ModelIndex {
            name: name.clone(),
            version: version.to_string(),
            state: match status.state {
                VersionState::Available => "READY",
                VersionState::Start | VersionState::Loading => "LOADING",
                VersionState::Unloading => "UNLOADING",
                VersionState::End => "UNAVAILABLE",
            },
            reason: status.error.clone().unwrap_or_default(),
        }));
    }
    if only_ready {
        index.retain(|entry| entry.state == "READY");
    }
    let number = |entry: &ModelIndex| entry.version.parse::<u64>().unwrap_or_default();
    index.sort_by(|a, b| (&a.name, number(a)).cmp(&(&b.name, number(b))));
    index
}

fn platform(version: &ServedVersion) -> String {
    let (engine, format) = (version.info.engine, version.info.format.name());
    match version.info.precision {
        Precision::F32 => format!("{engine}_{format}"),
        coarser => format!("{engine}_{format}_{coarser}"),
    }
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    let dim = |d: &Dim| match d {
        Dim::Fixed(n) => i64::try_from(*n).unwrap_or(-1),
        Dim::Dynamic(_) => -1,
    };
    TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.dtype.name(),
        shape: spec.shape.iter().map(dim).collect(),
    }
}

/// `model_config.proto`'s name.
fn type_name(dtype: DType) -> String {
    match dtype {
        DType::Bytes => "TYPE_STRING".to_owned(),
        other => format!("TYPE_{}", other.name()),
    }
}

fn sums(version: &ServedVersion) -> ModelStatistics {
    let stats = &version.queue.target().metrics.stats;
    let duration = |(count, ns): (u64, u64)| Duration { count, ns };
    let (infer, by_rows) = (duration(stats.infer.read()), stats.by_rows());
    let nothing = Duration { count: infer.count, ns: 0 };
    ModelStatistics {
        name: version.info.model.to_string(),
        version: version.info.version.to_string(),
        last_inference: stats.last_ms(),
        inference_count: stats.rows(),
        execution_count: by_rows.values().map(|(count, _)| count).sum(),
        inference_stats: InferStatistics {
            success: duration(stats.success.read()),
            fail: duration(stats.fail.read()),
            queue: duration(stats.queue.read()),
            compute_input: duration(stats.input.read()),
            compute_infer: infer,
            compute_output: nothing,
            cache_hit: duration(stats.cache_hit.read()),
            cache_miss: duration(stats.cache_miss.read()),
        },
        batch_stats: by_rows
            .into_iter()
            .map(|(rows, (count, ns))| BatchStatistics {
                batch_size: rows as u64,
                compute_input: Duration { count, ns: 0 },
                compute_infer: Duration { count, ns },
                compute_output: Duration { count, ns: 0 },
            })
            .collect(),
    }
}
