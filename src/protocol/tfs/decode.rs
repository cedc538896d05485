//! Bodies into inputs: JSON, a raw image, or a form of images.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use bytes::Bytes;

use super::json::{self, Form};
use super::path::Verb;
use crate::error::InferError;
use crate::input::InputValue;
use crate::router::ServedVersion;
use crate::service::InferenceService;

/// The name of the one signature an ONNX model has.
pub const SIGNATURE: &str = "serving_default";

/// A decoded body.
pub struct Decoded {
    /// By input name.
    pub inputs: Vec<(String, InputValue)>,
    /// How the answer is laid out.
    pub form: Form,
}

enum Kind {
    Json,
    Image,
    Multipart,
}

/// Decodes `body`; `request` has its headers.
pub async fn decode(
    service: &InferenceService,
    version: &Arc<ServedVersion>,
    verb: Verb,
    request: Request,
    body: Bytes,
) -> Result<Decoded, InferError> {
    match kind(&request, &body)? {
        Kind::Json => {
            let (decoding, bytes) = (version.clone(), body.len());
            let decode = move || decode_json(&decoding, verb, &body);
            service.work(Some(version), bytes, decode).await?
        }
        Kind::Image => images(version, vec![body]),
        Kind::Multipart => images(version, parts(request, body).await?),
    }
}

/// What a body is. Clients are careless with the content type (curl calls everything a form),
/// so only what is plainly something else is believed.
fn kind(request: &Request, body: &Bytes) -> Result<Kind, InferError> {
    let header = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let media = header.and_then(|h| h.split(';').next()).unwrap_or_default().trim();
    let media = media.to_ascii_lowercase();
    match media.as_str() {
        "application/json" | "text/json" => Ok(Kind::Json),
        "multipart/form-data" => Ok(Kind::Multipart),
        image if image.starts_with("image/") => Ok(Kind::Image),
        "" | "application/octet-stream" | "application/x-www-form-urlencoded" | "text/plain" => {
            let first = body.iter().find(|b| !b.is_ascii_whitespace());
            Ok(if first == Some(&b'{') || first.is_none() { Kind::Json } else { Kind::Image })
        }
        other => Err(InferError::UnsupportedMedia(format!(
            "content-type `{other}`: send application/json, image/jpeg, image/png, image/webp or \
             multipart/form-data"
        ))),
    }
}

fn decode_json(version: &ServedVersion, verb: Verb, body: &[u8]) -> Result<Decoded, InferError> {
    let inputs = &version.signature().inputs;
    let image = version.image_input().map(|spec| spec.name.as_str());
    let parsed = match verb {
        Verb::Predict => json::parse_predict(body, inputs, image),
        Verb::Classify | Verb::Regress => json::parse_examples(body, inputs, image),
    };
    let parsed = parsed.map_err(|e| version.invalid(e.to_string()))?;
    check_signature(version, parsed.signature_name.as_deref().unwrap_or_default())?;
    Ok(Decoded { inputs: parsed.inputs, form: parsed.form })
}

/// There is one signature; no name means it.
pub fn check_signature(version: &ServedVersion, name: &str) -> Result<(), InferError> {
    match name {
        "" | SIGNATURE => Ok(()),
        other => Err(version.invalid(format!(
            "Serving signature name: \"{other}\" not found; there is \"{SIGNATURE}\""
        ))),
    }
}

fn images(version: &ServedVersion, images: Vec<Bytes>) -> Result<Decoded, InferError> {
    let Some(input) = version.image_input() else {
        return Err(version.invalid(
            "an image came, but the model declares no image input ([input] kind = \"image\" in \
             its model.toml); send JSON tensors"
                .to_owned(),
        ));
    };
    let inputs = vec![(input.name.clone(), InputValue::Images(images))];
    Ok(Decoded { inputs, form: Form::Row })
}

async fn parts(request: Request, body: Bytes) -> Result<Vec<Bytes>, InferError> {
    let wrong =
        |e: &dyn std::fmt::Display| InferError::Invalid(format!("multipart/form-data: {e}"));
    let (head, _) = request.into_parts();
    let request = Request::from_parts(head, Body::from(body));
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|e| wrong(&e.body_text()))?;
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| wrong(&e.body_text()))? {
        images.push(field.bytes().await.map_err(|e| wrong(&e.body_text()))?);
    }
    if images.is_empty() { Err(wrong(&"no part holds an image")) } else { Ok(images) }
}
