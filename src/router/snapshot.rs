//! What is served, as one immutable value.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Asked, Attribute, ModelSpec, Plan, Selector, ServedVersion, Why};
use crate::error::InferError;

/// All models as they are served at one moment.
#[derive(Default)]
pub struct Snapshot {
    /// Grows with every publication.
    pub revision: u64,
    /// By model name.
    pub models: HashMap<String, ModelRoutes>,
}

/// One model's part of a snapshot.
#[derive(Default)]
pub struct ModelRoutes {
    /// Versions that are loaded and warm.
    pub versions: BTreeMap<u64, Arc<ServedVersion>>,
    /// Names for versions.
    pub labels: BTreeMap<String, u64>,
    /// Where requests that name no version go; only versions that are there.
    pub plan: Option<Plan>,
    /// Every version known, with what it is doing.
    pub statuses: BTreeMap<u64, VersionStatus>,
    /// Whether a request has it loaded that finds it is not.
    pub on_demand: bool,
    /// Why the model as a whole can't be served, such as a `model.toml` that can't be read.
    pub problem: Option<String>,
}

/// Who answers a request.
pub struct Route {
    /// This version does.
    pub version: Arc<ServedVersion>,
    /// The revision of the traffic that it is an arm of; none if the request asked for this version.
    pub arm_of: Option<u64>,
    /// These get a copy.
    pub shadows: SmallVec<[Arc<ServedVersion>; 2]>,
}

/// A version's life, in TensorFlow Serving's words (`get_model_status.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// Found, not yet loading.
    Start,
    /// Being read, verified and warmed up.
    Loading,
    /// Serving.
    Available,
    /// Taking no new requests.
    Unloading,
    /// Gone, or failed to load.
    End,
}

impl VersionState {
    /// The name in the REST API.
    pub const fn name(self) -> &'static str {
        match self {
            VersionState::Start => "START",
            VersionState::Loading => "LOADING",
            VersionState::Available => "AVAILABLE",
            VersionState::Unloading => "UNLOADING",
            VersionState::End => "END",
        }
    }
}

/// A version's state, and the reason when it is not what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionStatus {
    /// Where it is in its life.
    pub state: VersionState,
    /// Why the newest attempt to load it failed; the version may serve what it had before.
    pub error: Option<String>,
}

impl Snapshot {
    /// The models' names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.models.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The routes of a model.
    pub fn model(&self, name: &str) -> Result<&ModelRoutes, InferError> {
        self.models.get(name).ok_or_else(|| InferError::UnknownModel(name.to_owned()))
    }

    /// The parameter of the query that a model's traffic is sticky by.
    pub fn sticky_query(&self, model: &str) -> Option<&str> {
        match &self.models.get(model)?.plan.as_ref()?.sticky {
            Some((Attribute::Query(name), _)) => Some(name),
            _ => None,
        }
    }

    /// See [`super::Router::route`].
    pub fn route(&self, spec: &ModelSpec, request: &dyn Asked) -> Result<Route, InferError> {
        let name = &spec.model;
        let routes = self.model(name)?;
        let (version, why) = match &spec.selector {
            Selector::Version(version) => (*version, Why::Named),
            // The labels of a model that was never loaded are not known yet.
            Selector::Label(_) if routes.is_put_by() => return Err(routes.not_available(name)),
            Selector::Label(label) => (routes.label(name, label)?, Why::Named),
            Selector::Traffic => match &routes.plan {
                Some(plan) => plan.pick(request),
                None => return Err(routes.not_available(name)),
            },
        };
        let Some(served) = routes.versions.get(&version).cloned() else {
            return Err(match routes.statuses.get(&version) {
                Some(status) if status.state != VersionState::End || status.error.is_some() => {
                    routes.not_available(name)
                }
                Some(_) if routes.is_put_by() => routes.not_available(name),
                _ => InferError::UnknownVersion { model: name.clone(), version },
            });
        };
        let shadows = match &routes.plan {
            Some(plan) if why == Why::Arm && !plan.shadows.is_empty() => {
                let copies = plan.copies(version, request);
                copies.iter().filter_map(|v| routes.versions.get(v).cloned()).collect()
            }
            _ => SmallVec::new(),
        };
        let arm_of = routes.plan.as_ref().filter(|_| why == Why::Arm).map(|plan| plan.revision);
        Ok(Route { version: served, arm_of, shadows })
    }
}

impl ModelRoutes {
    /// Whether it is loaded as soon as a request asks for it, and isn't now.
    fn is_put_by(&self) -> bool {
        self.on_demand && self.versions.is_empty() && self.problem.is_none()
    }

    /// The version that has a label.
    pub fn label(&self, model: &str, label: &str) -> Result<u64, InferError> {
        self.labels.get(label).copied().ok_or_else(|| InferError::UnknownLabel {
            model: model.to_owned(),
            label: label.to_owned(),
        })
    }

    fn not_available(&self, model: &str) -> InferError {
        if self.is_put_by() {
            return InferError::NotLoaded(model.to_owned());
        }
        let states = self.statuses.iter().map(|(version, status)| match &status.error {
            Some(error) => format!("version {version}: {error}"),
            None => format!("version {version} is {}", status.state.name()),
        });
        let reasons: Vec<_> = self.problem.clone().into_iter().chain(states).collect();
        let reason = if reasons.is_empty() {
            "no version directory holds a model.onnx or model.tflite".to_owned()
        } else {
            reasons.join("; ")
        };
        InferError::NotAvailable { model: model.to_owned(), reason }
    }
}
