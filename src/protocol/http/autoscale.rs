//! What an autoscaler should do, and why.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HttpError, Shared, json};
use crate::batcher::{LoadReport, Offered};
use crate::error::InferError;

/// What is asked.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    target: Option<f64>,
    replicas: Option<u32>,
}

/// The load that a replica should have.
const TARGET: f64 = 0.7;

/// What an autoscaler should do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Autoscale {
    /// Work asked of this replica, as part of what it can do: `ocelli_load`.
    load: f64,
    /// The load that was asked for.
    target: f64,
    /// So many times as many replicas would have that load.
    ratio: f64,
    /// So many replicas would, if there are as many as was said, all with this one's load.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    /// The same in words.
    why: String,
    /// Compute threads of this replica.
    compute_threads: usize,
    /// What the load is made of.
    parts: Parts,
    /// By model.
    models: Vec<ModelLoad>,
}

/// Parts of a load.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct Parts {
    /// Computed, and decoded before that.
    served: f64,
    /// Waiting, as if it were to be done within a second.
    queued: f64,
    /// Refused for want of room or time.
    refused: f64,
}

/// The load of a model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelLoad {
    /// Its name.
    model: String,
    /// Its part of the load: `ocelli_model_load`.
    load: f64,
    /// What that is made of.
    parts: Parts,
}

impl From<Offered> for Parts {
    fn from(of: Offered) -> Parts {
        Parts { served: of.served, queued: of.queued, refused: of.refused }
    }
}

impl Autoscale {
    fn new(report: &LoadReport, asked: &Asked) -> Result<Autoscale, InferError> {
        let target = asked.target.unwrap_or(TARGET);
        if !(0.01..=10.0).contains(&target) {
            let why =
                format!("target lies between 0.01 and 10, and is 0.7 if not given; got {target}");
            return Err(InferError::Invalid(why));
        }
        let (load, parts) = (report.load(), report.parts());
        let ratio = load / target;
        // A saturating cast; and one replica stays to hear of new load.
        let replicas = asked.replicas.map(|n| (f64::from(n) * ratio).ceil().max(1.0) as u32);
        let threads = report.threads;
        let why = format!(
            "{load:.2} of what {threads} compute threads can do is asked: {:.2} served, {:.2} \
             waiting, {:.2} refused; {ratio:.2} times as many replicas would have a load of {target}",
            parts.served, parts.queued, parts.refused
        );
        let model = |m: &crate::batcher::ModelLoad| ModelLoad {
            model: m.model.clone(),
            load: m.parts.total(),
            parts: m.parts.into(),
        };
        Ok(Autoscale {
            load,
            target,
            ratio,
            replicas,
            why,
            compute_threads: threads,
            parts: parts.into(),
            models: report.models.iter().map(model).collect(),
        })
    }
}

pub(super) async fn autoscale(
    State(shared): State<Arc<Shared>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, HttpError> {
    let Query(asked) = asked.map_err(|e| InferError::Invalid(e.body_text()))?;
    Ok(json(StatusCode::OK, &Autoscale::new(&shared.load.read(), &asked)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_many_times_as_many_replicas_are_wanted() {
        let offered = Offered { served: 1.6, queued: 0.2, refused: 1.0 };
        let report = LoadReport::new(2, [("m", offered)].into_iter());
        let of = |target, replicas| Autoscale::new(&report, &Asked { target, replicas });
        let told = of(None, Some(3)).unwrap();
        assert!((told.load - 1.4).abs() < 1e-9 && (told.ratio - 2.0).abs() < 1e-9);
        assert_eq!((told.replicas, told.target), (Some(6), 0.7));
        assert!(told.why.contains("0.80 served, 0.10 waiting, 0.50 refused; 2.00 times"));
        assert_eq!((&*told.models[0].model, told.models[0].parts.queued), ("m", 0.1));
        assert_eq!(of(Some(2.8), None).unwrap().replicas, None);
        for wrong in [0.0, -1.0, f64::NAN] {
            let error = of(Some(wrong), None).unwrap_err().to_string();
            assert!(error.contains("target lies between"), "{error}");
        }
        let idle = LoadReport::new(2, std::iter::empty());
        let told = Autoscale::new(&idle, &Asked { target: None, replicas: Some(5) }).unwrap();
        assert_eq!((told.replicas, told.load), (Some(1), 0.0));
    }
}
