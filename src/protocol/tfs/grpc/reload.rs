//! `ReloadConfigRequest` into the list of models that are to be served (apis/model_management.proto,
//! config/model_server_config.proto), checked as far as that goes without the models.

use std::collections::BTreeSet;

use super::spec::number;
use crate::error::InferError;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::ServableVersionPolicy;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::PolicyChoice;
use crate::protocol::pb::tensorflow::serving::model_server_config::Config;
use crate::protocol::pb::tensorflow::serving::{ModelConfig as Listed, ReloadConfigRequest};
use crate::repository::{ModelConfig, VersionPolicy};

/// The models that are to be served, and no others, no two of one name. A request that is wrong in
/// one place is wrong.
pub fn read(request: ReloadConfigRequest) -> Result<Vec<ModelConfig>, InferError> {
    let Some(Config::ModelConfigList(list)) = request.config.unwrap_or_default().config else {
        return Err(InferError::Invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only \
                 ModelConfigList is currently supported"
                .to_owned(),
        ));
    };
    let mut names = BTreeSet::new();
    for (at, model) in list.config.iter().enumerate() {
        if model.name.is_empty() {
            let what = format!("config {at} of the model config list has no name");
            return Err(InferError::Invalid(what));
        }
        if !names.insert(&model.name) {
            let what = format!("{}: listed twice in the model config list", model.name);
            return Err(InferError::Invalid(what));
        }
    }
    list.config.into_iter().map(model).collect()
}

fn model(config: Listed) -> Result<ModelConfig, InferError> {
    let name = config.name;
    let policy = config.model_version_policy.unwrap_or_default();
    let versions = versions(&name, policy)?;
    let label = |(label, version): (String, i64)| match label.is_empty() {
        true => Err(InferError::Invalid(format!("{name}: a label of version {version} is \"\""))),
        false => Ok((label, number(&name, version)?)),
    };
    let labels = config.version_labels.into_iter().map(label).collect::<Result<_, _>>()?;
    Ok(ModelConfig { name, base_path: config.base_path, versions, labels })
}

fn versions(
    model: &str,
    policy: ServableVersionPolicy,
) -> Result<Option<VersionPolicy>, InferError> {
    Ok(Some(match policy.policy_choice {
        None => return Ok(None),
        // The default is 1, and 0 is how the default is written.
        Some(PolicyChoice::Latest(latest)) => {
            VersionPolicy::latest(latest.num_versions.max(1) as usize)
        }
        Some(PolicyChoice::All(_)) => VersionPolicy::all(),
        Some(PolicyChoice::Specific(specific)) if specific.versions.is_empty() => {
            let what = format!("{model}: the version policy `specific` names no version");
            return Err(InferError::Invalid(what));
        }
        Some(PolicyChoice::Specific(specific)) => {
            let numbers = specific.versions.into_iter().map(|v| number(model, v));
            VersionPolicy::specific(numbers.collect::<Result<_, _>>()?)
        }
    }))
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
