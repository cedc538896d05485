//! The RPCs that tell of the server and its models, and those that load and unload.

use std::sync::Arc;

use crate::error::{Code, InferError};
use crate::protocol::grpc::call::Context;
use crate::protocol::oip::infer::{self, spec};
use crate::protocol::oip::model::{self, Duration, ServerMetadata, TensorMetadata};
use crate::protocol::pb::inference::model_config::SchedulingChoice;
use crate::protocol::pb::inference::model_metadata_response::TensorMetadata as PbTensor;
use crate::protocol::pb::inference::repository_index_response::ModelIndex;
use crate::protocol::pb::inference::{self as pb, model_input, model_instance_group};

type Answer<M> = Result<M, InferError>;

pub async fn live(_: Arc<Context>, _: pb::ServerLiveRequest) -> Answer<pb::ServerLiveResponse> {
    Ok(pb::ServerLiveResponse { live: true })
}

pub async fn ready(
    context: Arc<Context>,
    _: pb::ServerReadyRequest,
) -> Answer<pb::ServerReadyResponse> {
    Ok(pb::ServerReadyResponse { ready: context.shared.is_ready() })
}

pub async fn model_ready(
    context: Arc<Context>,
    asked: pb::ModelReadyRequest,
) -> Answer<pb::ModelReadyResponse> {
    // A model that is not here is not ready, says Triton.
    let ready = match context.shared.is_model_ready(&spec(&asked.name, &asked.version)?) {
        Err(error) if error.code() == Code::NotFound => false,
        told => told?,
    };
    Ok(pb::ModelReadyResponse { ready })
}

pub async fn server_metadata(
    _: Arc<Context>,
    _: pb::ServerMetadataRequest,
) -> Answer<pb::ServerMetadataResponse> {
    let ServerMetadata { name, version, extensions } = ServerMetadata::THIS;
    Ok(pb::ServerMetadataResponse {
        name: name.to_owned(),
        version: version.to_owned(),
        extensions: extensions.map(str::to_owned).to_vec(),
    })
}

pub async fn model_metadata(
    context: Arc<Context>,
    asked: pb::ModelMetadataRequest,
) -> Answer<pb::ModelMetadataResponse> {
    let spec = spec(&asked.name, &asked.version)?;
    context.shared.version(&spec).await?;
    let told = model::metadata(&context.shared.service.router, &spec)?;
    let tensor = |t: TensorMetadata| PbTensor {
        name: t.name,
        datatype: t.datatype.to_owned(),
        shape: t.shape,
    };
    Ok(pb::ModelMetadataResponse {
        name: told.name,
        versions: told.versions,
        platform: told.platform,
        inputs: told.inputs.into_iter().map(tensor).collect(),
        outputs: told.outputs.into_iter().map(tensor).collect(),
    })
}

pub async fn model_config(
    context: Arc<Context>,
    asked: pb::ModelConfigRequest,
) -> Answer<pb::ModelConfigResponse> {
    let spec = spec(&asked.name, &asked.version)?;
    context.shared.version(&spec).await?;
    let told = model::config(&context.shared.service.router, &spec)?;
    let data_type = |name: &str| pb::DataType::from_str_name(name).unwrap_or_default().into();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let input = |i: model::InputConfig| pb::ModelInput {
        name: i.name,
        data_type: data_type(&i.data_type),
        format: model_input::Format::from_str_name(i.format).unwrap_or_default().into(),
        dims: i.dims,
    };
    let output = |o: model::OutputConfig| pb::ModelOutput {
        name: o.name,
        data_type: data_type(&o.data_type),
        dims: o.dims,
        label_filename: o.label_filename,
    };
    let group = |g: model::InstanceGroup| pb::ModelInstanceGroup {
        name: g.name,
        count: count(g.count),
        kind: model_instance_group::Kind::from_str_name(g.kind).unwrap_or_default().into(),
    };
    let batching = |b: model::DynamicBatching| {
        let policy = b.default_queue_policy;
        SchedulingChoice::DynamicBatching(pb::ModelDynamicBatching {
            max_queue_delay_microseconds: b.max_queue_delay_microseconds,
            priority_levels: b.priority_levels,
            default_priority_level: b.default_priority_level,
            default_queue_policy: Some(pb::ModelQueuePolicy {
                allow_timeout_override: policy.allow_timeout_override,
                max_queue_size: u32::try_from(policy.max_queue_size).unwrap_or(u32::MAX),
                ..Default::default()
            }),
            ..Default::default()
        })
    };
    let config = pb::ModelConfig {
        name: told.name,
        platform: told.platform,
        max_batch_size: count(told.max_batch_size),
        input: told.input.into_iter().map(input).collect(),
        output: told.output.into_iter().map(output).collect(),
        instance_group: told.instance_group.into_iter().map(group).collect(),
        default_model_filename: told.default_model_filename.to_owned(),
        scheduling_choice: told.dynamic_batching.map(batching),
        backend: told.backend.to_owned(),
        model_transaction_policy: Some(pb::ModelTransactionPolicy {
            decoupled: told.model_transaction_policy.decoupled,
        }),
        ..Default::default()
    };
    Ok(pb::ModelConfigResponse { config: Some(config) })
}

pub async fn model_statistics(
    context: Arc<Context>,
    asked: pb::ModelStatisticsRequest,
) -> Answer<pb::ModelStatisticsResponse> {
    let told = model::statistics(&context.shared.service.router, &asked.name, &asked.version)?;
    let sum = |d: Duration| Some(pb::StatisticDuration { count: d.count, ns: d.ns });
    let batch = |b: model::BatchStatistics| pb::InferBatchStatistics {
        batch_size: b.batch_size,
        compute_input: sum(b.compute_input),
        compute_infer: sum(b.compute_infer),
        compute_output: sum(b.compute_output),
    };
    let one = |m: model::ModelStatistics| pb::ModelStatistics {
        name: m.name,
        version: m.version,
        last_inference: m.last_inference,
        inference_count: m.inference_count,
        execution_count: m.execution_count,
        inference_stats: Some(pb::InferStatistics {
            success: sum(m.inference_stats.success),
            fail: sum(m.inference_stats.fail),
            queue: sum(m.inference_stats.queue),
            compute_input: sum(m.inference_stats.compute_input),
            compute_infer: sum(m.inference_stats.compute_infer),
            compute_output: sum(m.inference_stats.compute_output),
            cache_hit: sum(m.inference_stats.cache_hit),
            cache_miss: sum(m.inference_stats.cache_miss),
        }),
        batch_stats: m.batch_stats.into_iter().map(batch).collect(),
    };
    Ok(pb::ModelStatisticsResponse { model_stats: told.into_iter().map(one).collect() })
}

pub async fn repository_index(
    context: Arc<Context>,
    asked: pb::RepositoryIndexRequest,
) -> Answer<pb::RepositoryIndexResponse> {
    let told = model::index(&context.shared.service.router, asked.ready);
    let entry = |m: model::ModelIndex| ModelIndex {
        name: m.name,
        version: m.version,
        state: m.state.to_owned(),
        reason: m.reason,
    };
    Ok(pb::RepositoryIndexResponse { models: told.into_iter().map(entry).collect() })
}

pub async fn load(
    context: Arc<Context>,
    asked: pb::RepositoryModelLoadRequest,
) -> Answer<pb::RepositoryModelLoadResponse> {
    let commands = context.commands("load", &asked.model_name)?;
    if let Some(name) = asked.parameters.keys().next() {
        return Err(infer::no_override(name));
    }
    context.shared.wait(context.timeout, commands.load(&asked.model_name)).await?;
    Ok(pb::RepositoryModelLoadResponse {})
}

/// `unload_dependents` means nothing where no model depends on another.
pub async fn unload(
    context: Arc<Context>,
    asked: pb::RepositoryModelUnloadRequest,
) -> Answer<pb::RepositoryModelUnloadResponse> {
    let commands = context.commands("unload", &asked.model_name)?;
    context.shared.wait(context.timeout, commands.unload(&asked.model_name)).await?;
    Ok(pb::RepositoryModelUnloadResponse {})
}
