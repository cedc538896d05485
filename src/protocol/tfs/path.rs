//! The paths of the API, as TensorFlow Serving's regular expressions have them:
//! `/v1/models/NAME[/versions/N|/labels/L]:VERB` and `…[/metadata]`.

use axum::http::{Method, Uri};

use crate::error::InferError;
use crate::protocol::http::name;
use crate::router::{ModelSpec, Selector};

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Tensors or images in, tensors or answers out.
    Predict,
    /// Examples in, labels with scores out.
    Classify,
    /// Examples in, a number each out.
    Regress,
}

impl Verb {
    /// As it stands in a path.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Predict => "predict",
            Verb::Classify => "classify",
            Verb::Regress => "regress",
        }
    }
}

/// A path, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `GET …`
    Status(ModelSpec),
    /// `GET …/metadata`
    Metadata(ModelSpec),
    /// `POST …:verb`
    Infer(ModelSpec, Verb),
    /// `POST NAME:feedback`
    Feedback(String),
}

/// Understands a path below `/v1/models/`.
pub fn parse(method: &Method, uri: &Uri) -> Result<Target, InferError> {
    let parsed = uri.path().strip_prefix("/v1/models/").and_then(|rest| match *method {
        Method::GET | Method::HEAD => get(rest),
        Method::POST | Method::PUT => post(rest),
        _ => None,
    });
    parsed.ok_or_else(|| malformed(method, uri.path()))
}

/// The error for a path that is none of the API's.
pub fn malformed(method: &Method, path: &str) -> InferError {
    InferError::Invalid(format!("Malformed request: {method} {path}"))
}

fn get(rest: &str) -> Option<Target> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    match rest.strip_suffix("/metadata") {
        Some(rest) => Some(Target::Metadata(spec(rest)?)),
        None => Some(Target::Status(spec(rest)?)),
    }
}

fn post(rest: &str) -> Option<Target> {
    let (rest, verb) = rest.rsplit_once(':')?;
    if verb.eq_ignore_ascii_case("feedback") {
        // The answer's id says which version it was.
        let spec = spec(rest)?;
        return (spec.selector == Selector::Traffic).then_some(Target::Feedback(spec.model));
    }
    let verb = match verb.to_ascii_lowercase().as_str() {
        "predict" => Verb::Predict,
        "classify" => Verb::Classify,
        "regress" => Verb::Regress,
        _ => return None,
    };
    Some(Target::Infer(spec(rest)?, verb))
}

/// Which version a number means. OpenVINO's client writes 0 where it means none in particular.
pub fn selector(version: u64) -> Selector {
    if version == 0 { Selector::Traffic } else { Selector::Version(version) }
}

fn spec(path: &str) -> Option<ModelSpec> {
    let parts: Vec<&str> = path.split('/').collect();
    let (model, selector) = match parts[..] {
        [model] => (model, Selector::Traffic),
        [model, "versions", version] => (model, selector(version.parse().ok()?)),
        [model, "labels", label] => (model, Selector::Label(name(label)?)),
        _ => return None,
    };
    Some(ModelSpec { model: name(model)?, selector })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, expected: Option<Target>) {
        assert_eq!(parse(&method, &path.parse().unwrap()).ok(), expected, "{method} {path}");
    }

    fn spec(model: &str, selector: Selector) -> ModelSpec {
        ModelSpec { model: model.to_owned(), selector }
    }

    #[test]
    fn understands_the_paths_of_the_api() {
        let m = |s| spec("m", s);
        let v = Selector::Version(3);
        let l = Selector::Label("stable".into());
        check(Method::GET, "/v1/models/m", Some(Target::Status(m(Selector::Traffic))));
        check(Method::GET, "/v1/models/m/versions/3", Some(Target::Status(m(v.clone()))));
        check(Method::GET, "/v1/models/m/versions/0", Some(Target::Status(m(Selector::Traffic))));
        check(Method::GET, "/v1/models/m/metadata", Some(Target::Metadata(m(Selector::Traffic))));
        check(
            Method::GET,
            "/v1/models/m/labels/stable/metadata",
            Some(Target::Metadata(m(l.clone()))),
        );
        check(
            Method::POST,
            "/v1/models/m:predict",
            Some(Target::Infer(m(Selector::Traffic), Verb::Predict)),
        );
        check(
            Method::POST,
            "/v1/models/m/versions/3:classify",
            Some(Target::Infer(m(v), Verb::Classify)),
        );
        check(
            Method::POST,
            "/v1/models/m/labels/stable:Regress",
            Some(Target::Infer(m(l), Verb::Regress)),
        );
        check(Method::POST, "/v1/models/m:feedback", Some(Target::Feedback("m".to_owned())));
        check(Method::POST, "/v1/models/m/versions/1:feedback", None);
        let spaced = spec("a b", Selector::Traffic);
        check(Method::GET, "/v1/models/a%20b", Some(Target::Status(spaced)));
    }

    #[test]
    fn refuses_the_rest() {
        for path in [
            "m:explain",
            "m/versions/x:predict",
            "m/versions/-1:predict",
            ":predict",
            "m",
            "m/n:predict",
            "%ff:predict",
        ] {
            check(Method::POST, &format!("/v1/models/{path}"), None);
        }
        check(Method::DELETE, "/v1/models/m", None);
    }
}
