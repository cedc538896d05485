//! `ReloadConfigRequest` into the list of models that are to be served (apis/model_management.proto,
//! config/model_server_config.proto), checked as far as that goes without the models.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::number;
use crate::error::InferError;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::ServableVersionPolicy;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::PolicyChoice;
use crate::protocol::pb::tensorflow::serving::model_server_config::Config;
use crate::protocol::pb::tensorflow::serving::{ModelConfig, ReloadConfigRequest};

/// The models that are to be served, and no others.
#[derive(Debug, PartialEq, Eq)]
pub struct ReloadConfig {
    /// No two of one name.
    pub models: Vec<ReloadModel>,
}

/// A model that is to be served.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReloadModel {
    /// Its name.
    pub name: String,
    /// Its directory; empty if the request leaves it to the server.
    pub base_path: String,
    /// Which of its versions; `None` if the request leaves that to the server.
    pub versions: Option<Versions>,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
}

/// Which versions are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// The so many newest.
    Latest(usize),
    /// Whatever is there.
    All,
    /// These.
    Specific(BTreeSet<u64>),
}

impl ReloadConfig {
    /// Checks a request; one that is wrong in one place is wrong.
    pub fn read(request: ReloadConfigRequest) -> Result<ReloadConfig, InferError> {
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
        let models = list.config.into_iter().map(ReloadModel::read).collect::<Result<_, _>>()?;
        Ok(ReloadConfig { models })
    }
}

impl ReloadModel {
    fn read(config: ModelConfig) -> Result<ReloadModel, InferError> {
        let name = config.name;
        let policy = config.model_version_policy.unwrap_or_default();
        let versions = versions(&name, policy)?;
        let label = |(label, version): (String, i64)| match label.is_empty() {
            true => {
                Err(InferError::Invalid(format!("{name}: a label of version {version} is \"\"")))
            }
            false => Ok((label, number(&name, version)?)),
        };
        let labels = config.version_labels.into_iter().map(label).collect::<Result<_, _>>()?;
        Ok(ReloadModel { name, base_path: config.base_path, versions, labels })
    }
}

fn versions(model: &str, policy: ServableVersionPolicy) -> Result<Option<Versions>, InferError> {
    Ok(Some(match policy.policy_choice {
        None => return Ok(None),
        // The default is 1, and 0 is how the default is written.
        Some(PolicyChoice::Latest(latest)) => Versions::Latest(latest.num_versions.max(1) as usize),
        Some(PolicyChoice::All(_)) => Versions::All,
        Some(PolicyChoice::Specific(specific)) if specific.versions.is_empty() => {
            let what = format!("{model}: the version policy `specific` names no version");
            return Err(InferError::Invalid(what));
        }
        Some(PolicyChoice::Specific(specific)) => {
            let numbers = specific.versions.into_iter().map(|v| number(model, v));
            Versions::Specific(numbers.collect::<Result<_, _>>()?)
        }
    }))
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
