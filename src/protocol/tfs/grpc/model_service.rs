//! `ModelService`: how versions fare, and which models are served (apis/model_service.proto,
//! model_servers/model_service_impl.cc).

use std::sync::Arc;

use super::{reload, spec};
use crate::error::InferError;
use crate::protocol::grpc::call::Context;
use crate::protocol::pb::tensorflow::error::Code;
use crate::protocol::pb::tensorflow::serving::model_version_status::State;
use crate::protocol::pb::tensorflow::serving::{
    GetModelStatusRequest, GetModelStatusResponse, ModelVersionStatus, ReloadConfigRequest,
    ReloadConfigResponse, StatusProto,
};
use crate::protocol::tfs::status::{health, statuses};
use crate::router::{VersionState, VersionStatus};

/// `GetModelStatus`.
pub async fn status(
    context: Arc<Context>,
    request: GetModelStatusRequest,
) -> Result<GetModelStatusResponse, InferError> {
    let spec = spec::read(request.model_spec.as_ref())?;
    let statuses = statuses(&context.shared, &spec)?;
    let model_version_status = statuses.iter().map(|(version, status)| one(*version, status));
    Ok(GetModelStatusResponse { model_version_status: model_version_status.collect() })
}

fn one(version: u64, status: &VersionStatus) -> ModelVersionStatus {
    let error_message = status.error.clone().unwrap_or_default();
    ModelVersionStatus {
        version: version as i64,
        state: state(status.state).into(),
        status: Some(StatusProto { error_code: health(status).into(), error_message }),
    }
}

fn state(state: VersionState) -> State {
    match state {
        VersionState::Start => State::Start,
        VersionState::Loading => State::Loading,
        VersionState::Available => State::Available,
        VersionState::Unloading => State::Unloading,
        VersionState::End => State::End,
    }
}

/// `HandleReloadConfigRequest`: answered when the models are served. What fails is told as the
/// call's status, which clients see before they would see the message's.
pub async fn reload(
    context: Arc<Context>,
    request: ReloadConfigRequest,
) -> Result<ReloadConfigResponse, InferError> {
    let models = reload::read(request)?;
    let commands = context.commands("reload", "")?;
    context.shared.wait(context.timeout, commands.configure(models)).await?;
    let status = StatusProto { error_code: Code::Ok.into(), error_message: String::new() };
    Ok(ReloadConfigResponse { status: Some(status) })
}
