use super::*;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::{
    All, Latest, Specific,
};
use crate::protocol::pb::tensorflow::serving::{ModelConfigList, ModelServerConfig};

fn model(name: &str, policy: Option<PolicyChoice>) -> ModelConfig {
    ModelConfig {
        name: name.to_owned(),
        base_path: format!("/models/{name}"),
        model_version_policy: Some(ServableVersionPolicy { policy_choice: policy }),
        ..ModelConfig::default()
    }
}

fn read(config: Vec<ModelConfig>) -> Result<ReloadConfig, InferError> {
    let config = Some(Config::ModelConfigList(ModelConfigList { config }));
    ReloadConfig::read(ReloadConfigRequest { config: Some(ModelServerConfig { config }) })
}

#[track_caller]
fn refused(result: Result<ReloadConfig, InferError>, says: &str) {
    let error = result.unwrap_err();
    assert!(matches!(&error, InferError::Invalid(what) if what.contains(says)), "{error}");
}

#[test]
fn a_list_of_models_is_read() {
    let specific = PolicyChoice::Specific(Specific { versions: vec![3, 1, 3] });
    let mut labelled = model("a", Some(specific));
    labelled.version_labels = [("stable".to_owned(), 1)].into();
    let list = read(vec![
        labelled,
        model("b", Some(PolicyChoice::Latest(Latest { num_versions: 0 }))),
        model("c", Some(PolicyChoice::Latest(Latest { num_versions: 2 }))),
        model("d", Some(PolicyChoice::All(All {}))),
        ModelConfig { name: "e".to_owned(), ..ModelConfig::default() },
    ]);
    let models = list.unwrap().models;
    let versions: Vec<_> = models.iter().map(|m| m.versions.clone()).collect();
    let expected = [
        Some(Versions::Specific([1, 3].into())),
        Some(Versions::Latest(1)),
        Some(Versions::Latest(2)),
        Some(Versions::All),
        None,
    ];
    assert_eq!(versions, expected);
    assert_eq!(models[0].labels, [("stable".to_owned(), 1)].into());
    assert_eq!((models[0].base_path.as_str(), models[4].base_path.as_str()), ("/models/a", ""));
    assert_eq!(read(Vec::new()).unwrap().models, []);
}

#[test]
fn a_list_with_a_mistake_is_refused() {
    refused(ReloadConfig::read(ReloadConfigRequest::default()), "Only ModelConfigList");
    refused(read(vec![model("", None)]), "config 0 of the model config list has no name");
    refused(read(vec![model("a", None), model("a", None)]), "a: listed twice");
    let specific = |versions| Some(PolicyChoice::Specific(Specific { versions }));
    refused(read(vec![model("a", specific(Vec::new()))]), "a: the version policy `specific`");
    refused(read(vec![model("a", specific(vec![-1]))]), "a: version -1 is below 0");
    for (label, version, says) in [("x", -2, "a: version -2 is below 0"), ("", 1, "is \"\"")] {
        let mut wrong = model("a", None);
        wrong.version_labels = [(label.to_owned(), version)].into();
        refused(read(vec![wrong]), says);
    }
}
