//! `tensorflow.serving.ModelSpec` to and from what the router knows.

use crate::error::InferError;
use crate::protocol::pb::tensorflow::serving::ModelSpec as Proto;
use crate::protocol::pb::tensorflow::serving::model_spec::VersionChoice;
use crate::protocol::tfs::decode::SIGNATURE;
use crate::protocol::tfs::path::selector;
use crate::router::{ModelSpec, Selector, ServedVersion};

/// Which version of which model is meant.
pub fn read(proto: Option<&Proto>) -> Result<ModelSpec, InferError> {
    let invalid = |what: &str| InferError::Invalid(what.to_owned());
    let proto = proto.ok_or_else(|| invalid("Missing ModelSpec"))?;
    let model = proto.name.clone();
    if model.is_empty() {
        return Err(invalid("ModelSpec has no name specified."));
    }
    let selector = match &proto.version_choice {
        None => Selector::Traffic,
        Some(VersionChoice::VersionLabel(label)) => Selector::Label(label.clone()),
        Some(VersionChoice::Version(version)) => selector(number(&model, *version)?),
    };
    Ok(ModelSpec { model, selector })
}

/// A version's number, which is a signed one in the messages.
pub fn number(model: &str, version: i64) -> Result<u64, InferError> {
    u64::try_from(version)
        .map_err(|_| InferError::Invalid(format!("{model}: version {version} is below 0")))
}

/// What answered.
pub fn answered(version: &ServedVersion) -> Proto {
    Proto {
        name: version.info.model.to_string(),
        version_choice: Some(VersionChoice::Version(version.info.version as i64)),
        signature_name: SIGNATURE.to_owned(),
    }
}
