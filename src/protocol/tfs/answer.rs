//! Outputs into bodies.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;

use super::json::{self, Form};
use super::path::Verb;
use crate::error::InferError;
use crate::protocol::http::{json as json_answer, raw_json};
use crate::router::ServedVersion;
use crate::service::Response as Computed;
use crate::tensor::Tensor;
use crate::vision::Answer;

/// What the query string asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    top_k: Option<usize>,
    tensors: bool,
}

impl Options {
    /// `top_k=N` gives N classes; `output=tensors` gives an image's raw outputs. The parameter that the
    /// traffic is sticky by is the router's.
    pub fn parse(query: Option<&str>, sticky: Option<&str>) -> Result<Options, InferError> {
        let mut options = Options::default();
        for pair in query.unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("top_k", n) => match n.parse() {
                    Ok(k) if k > 0 => options.top_k = Some(k),
                    _ => return Err(InferError::Invalid(format!("top_k: `{n}` is no count"))),
                },
                ("output", "tensors") => options.tensors = true,
                ("output", "answers") => options.tensors = false,
                (key, _) if Some(key) == sticky => {}
                (key, value) => {
                    return Err(InferError::Invalid(format!(
                        "unknown query `{key}={value}`; there are top_k=N and output=tensors"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// Images in, the declared answer out; tensors in, tensors out.
pub fn encode(
    version: &ServedVersion,
    verb: Verb,
    form: Form,
    options: &Options,
    computed: &Computed,
) -> Result<Response, InferError> {
    match verb {
        Verb::Predict => {
            if !computed.placements.is_empty()
                && !options.tensors
                && let Some(answers) = computed.answers(version, options.top_k)?
            {
                let key = if form == Form::Row { "predictions" } else { "outputs" };
                // Not through a `Value`, which would widen the scores to 64 bits and print them so.
                return Ok(json_answer(StatusCode::OK, &BTreeMap::from([(key, answers)])));
            }
            predict(version, form, &computed.outputs)
        }
        Verb::Classify => classify(version, options, computed),
        Verb::Regress => regress(version, &computed.outputs),
    }
}

fn predict(
    version: &ServedVersion,
    form: Form,
    outputs: &[Tensor],
) -> Result<Response, InferError> {
    let names = version.signature().outputs.iter().map(|o| o.name.clone());
    let named: Vec<_> = names.zip(outputs.iter().cloned()).collect();
    let body = json::encode_predict(form, &named).map_err(|e| version.invalid(e.to_string()))?;
    Ok(raw_json(StatusCode::OK, body))
}

fn classify(
    version: &ServedVersion,
    options: &Options,
    computed: &Computed,
) -> Result<Response, InferError> {
    let rows = classes(version, options.top_k, computed)?;
    Ok(raw_json(StatusCode::OK, json::encode_classify(&rows)))
}

/// The best classes of each row, by label where the model has labels.
pub fn classes(
    version: &ServedVersion,
    top_k: Option<usize>,
    computed: &Computed,
) -> Result<Vec<Vec<(String, f32)>>, InferError> {
    let not_declared = || {
        version.invalid(
            "Expected classification signature; model.toml declares no [output] kind = \
             \"classification\""
                .to_owned(),
        )
    };
    let answers = computed.answers(version, top_k)?.ok_or_else(not_declared)?;
    let row = |answer| match answer {
        Answer::Classes(classes) => {
            let named = classes.into_iter().map(|c| {
                let label =
                    c.label.as_ref().map_or_else(|| c.index.to_string(), ToString::to_string);
                (label, c.score)
            });
            Ok(named.collect())
        }
        Answer::Detections(_) => Err(not_declared()),
    };
    answers.into_iter().map(row).collect()
}

fn regress(version: &ServedVersion, outputs: &[Tensor]) -> Result<Response, InferError> {
    Ok(raw_json(StatusCode::OK, json::encode_regress(&values(version, outputs)?)))
}

/// One number a row: TensorFlow Serving takes outputs of shape [n] and [n, 1].
pub fn values(version: &ServedVersion, outputs: &[Tensor]) -> Result<Vec<f32>, InferError> {
    let one_number = |t: &&Tensor| matches!(t.shape(), [_] | [_, 1]);
    let values = match outputs {
        [only] => Some(only).filter(one_number).and_then(Tensor::to_f32),
        _ => None,
    };
    values.ok_or_else(|| {
        let shapes: Vec<_> = outputs.iter().map(Tensor::shape).collect();
        version.invalid(format!("Expected one output of one number a row, got shapes {shapes:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_query_and_refuses_what_it_does_not_know() {
        let parsed = Options::parse(Some("top_k=3&output=tensors&user=ada"), Some("user")).unwrap();
        assert_eq!(parsed, Options { top_k: Some(3), tensors: true });
        assert!(Options::parse(Some("topk=3"), Some("user")).is_err());
        assert!(Options::parse(Some("top_k=0"), None).is_err());
    }
}
