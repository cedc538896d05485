//! The model that a path names.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::error::InferError;
use crate::protocol::http::{HttpError, name};
use crate::protocol::oip::infer;
use crate::router::ModelSpec;

/// `…/models/NAME…` or `…/models/NAME/versions/N…`.
pub struct Named(pub ModelSpec);

impl<S: Sync> FromRequestParts<S> for Named {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Named, HttpError> {
        Ok(Named(spec(parts.uri.path())?))
    }
}

fn spec(path: &str) -> Result<ModelSpec, InferError> {
    let mut segments = path.split('/').skip_while(|segment| *segment != "models").skip(1);
    let model = segments.next().and_then(name).ok_or_else(|| {
        InferError::Invalid(format!("{path}: what follows `models` is no model's name"))
    })?;
    let version = match segments.next() {
        Some("versions") => segments.next().unwrap_or_default(),
        _ => "",
    };
    infer::spec(&model, version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Selector;

    #[test]
    fn reads_the_model_and_its_version() {
        let read = |path| spec(path).map(|s| (s.model, s.selector)).ok();
        let m = |selector| Some(("m".to_owned(), selector));
        assert_eq!(read("/v2/models/m"), m(Selector::Traffic));
        assert_eq!(read("/v2/models/m/infer"), m(Selector::Traffic));
        assert_eq!(read("/v2/models/m/versions/3/infer"), m(Selector::Version(3)));
        assert_eq!(read("/v2/repository/models/m/load"), m(Selector::Traffic));
        assert_eq!(read("/v2/models/a%20b").unwrap().0, "a b");
        assert_eq!(read("/v2/models/models/ready").unwrap().0, "models");
        for wrong in ["/v2/models/%ff", "/v2/models/a%2Fb", "/v2/models/m/versions/x/infer"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
