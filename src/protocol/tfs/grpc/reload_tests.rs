use super::*;
use crate::protocol::pb::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::{
    All, Latest, Specific,
};
use crate::protocol::pb::tensorflow::serving::{ModelConfigList, ModelServerConfig};

fn listed(name: &str, policy: Option<PolicyChoice>) -> Listed {
    Listed {
        name: name.to_owned(),
        base_path: format!("/models/{name}"),
        model_version_policy: Some(ServableVersionPolicy { policy_choice: policy }),
        ..Listed::default()
    }
}

fn read_list(config: Vec<Listed>) -> Result<Vec<ModelConfig>, InferError> {
    let config = Some(Config::ModelConfigList(ModelConfigList { config }));
    read(ReloadConfigRequest { config: Some(ModelServerConfig { config }) })
}

#[track_caller]
fn refused(result: Result<Vec<ModelConfig>, InferError>, says: &str) {
    let error = result.unwrap_err();
    assert!(matches!(&error, InferError::Invalid(what) if what.contains(says)), "{error}");
}

#[test]
fn a_list_of_models_is_read() {
    let specific = PolicyChoice::Specific(Specific { versions: vec![3, 1, 3] });
    let mut labelled = listed("a", Some(specific));
    labelled.version_labels = [("stable".to_owned(), 1)].into();
    let list = read_list(vec![
        labelled,
        listed("b", Some(PolicyChoice::Latest(Latest { num_versions: 0 }))),
        listed("c", Some(PolicyChoice::Latest(Latest { num_versions: 2 }))),
        listed("d", Some(PolicyChoice::All(All {}))),
        Listed { name: "e".to_owned(), ..Listed::default() },
    ]);
    let models = list.unwrap();
    let versions: Vec<_> = models.iter().map(|m| m.versions.clone()).collect();
    let expected = [
        Some(VersionPolicy::specific([1, 3].into())),
        Some(VersionPolicy::latest(1)),
        Some(VersionPolicy::latest(2)),
        Some(VersionPolicy::all()),
        None,
    ];
    assert_eq!(versions, expected);
    assert_eq!(models[0].labels, [("stable".to_owned(), 1)].into());
    assert_eq!((models[0].base_path.as_str(), models[4].base_path.as_str()), ("/models/a", ""));
    assert_eq!(read_list(Vec::new()).unwrap(), []);
}

#[test]
fn a_list_with_a_mistake_is_refused() {
    refused(read(ReloadConfigRequest::default()), "Only ModelConfigList");
    refused(read_list(vec![listed("", None)]), "config 0 of the model config list has no name");
    refused(read_list(vec![listed("a", None), listed("a", None)]), "a: listed twice");
    let specific = |versions| Some(PolicyChoice::Specific(Specific { versions }));
    refused(read_list(vec![listed("a", specific(Vec::new()))]), "a: the version policy `specific`");
    refused(read_list(vec![listed("a", specific(vec![-1]))]), "a: version -1 is below 0");
    for (label, version, says) in [("x", -2, "a: version -2 is below 0"), ("", 1, "is \"\"")] {
        let mut wrong = listed("a", None);
        wrong.version_labels = [(label.to_owned(), version)].into();
        refused(read_list(vec![wrong]), says);
    }
}
