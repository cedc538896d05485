//! `POST …/infer`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::encode::{Output, encode};
use super::path::Named;
use super::{HEADER_LENGTH, Refusal, decode};
use crate::error::InferError;
use crate::protocol::http::{self as http, Shared, asks, frames, raw_json, read_body};
use crate::protocol::oip::infer::{Call, run_in};
use crate::router::ServedVersion;
use crate::service::Routed;
use crate::telemetry::trace::Stage;
use crate::tensor::{DType, Data};

pub async fn infer(
    State(shared): State<Arc<Shared>>,
    Named(spec): Named,
    request: Request,
) -> Response {
    http::respond(&shared, &spec, "infer", request, |shared, routed, parts, body| {
        Box::pin(run(shared, routed, parts, body))
    })
    .await
}

async fn run(
    shared: &Shared,
    routed: &Routed,
    parts: Parts,
    body: &mut Body,
) -> Result<Response, InferError> {
    let (service, version) = (&shared.service, &routed.version);
    let asks = asks(&parts.headers)?;
    let json_len = json_len(&parts.headers)?;
    let deadline = service.deadline(routed, asks.timeout);
    let body = read_body(shared, routed, deadline, asks.priority, body).await?;
    let place = version.reserve(asks.priority)?;
    let began = Instant::now();
    let (decoder, data) = (version.clone(), body.data.clone());
    let work = if takes_bytes(version) { data.len() } else { json_len.unwrap_or(data.len()) };
    let call = service.work(Some(version), work, move || {
        let image = decoder.image_input().map(|spec| spec.name.as_str());
        decode(decoder.signature(), image, json_len, &data).map_err(|refusal| match refusal {
            Refusal::Invalid(what) => decoder.invalid(what),
            Refusal::LeftOut(what) => InferError::Unimplemented(what.to_owned()),
        })
    });
    let call = call.await??;
    routed.passed(Stage::Decode, began.elapsed());
    let (id, binary) = (call.id.clone(), binary(&call));
    let outputs = run_in(shared, routed, place, call, asks).await?;
    let began = Instant::now();
    let outputs: Vec<Output> = outputs
        .into_iter()
        .enumerate()
        .map(|(at, (name, tensor))| Output { name, tensor, binary: binary(at) })
        .collect();
    let text = outputs.iter().filter(|o| !o.binary).map(|o| o.tensor.data().len()).sum();
    let encoding = version.clone();
    let encoded = service.work(Some(version), text, move || {
        let info = &encoding.info;
        let encoded = encode(&info.model, info.version, &id, &outputs);
        encoded.map_err(|what| encoding.invalid(what))
    });
    let (json, tensors) = encoded.await??;
    routed.passed(Stage::Encode, began.elapsed());
    Ok(respond(json, tensors))
}

/// Whether byte strings may come, which are walked, where other tensors are only cut out.
fn takes_bytes(version: &ServedVersion) -> bool {
    let bytes = version.signature().inputs.iter().any(|input| input.dtype == DType::Bytes);
    bytes || version.image.is_some()
}

/// Whether the output at a place of the answer goes behind the JSON: as the output says, or else
/// the request.
fn binary(call: &Call) -> impl Fn(usize) -> bool + use<> {
    let rule = call.parameters.binary_data_output;
    let said: Vec<Option<bool>> = call.outputs.iter().map(|o| o.binary).collect();
    move |at| said.get(at).copied().flatten().unwrap_or(rule)
}

fn respond(json: Vec<u8>, tensors: Option<Data>) -> Response {
    let Some(tensors) = tensors else { return raw_json(StatusCode::OK, json) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (HEADER_LENGTH, HeaderValue::from(json.len())),
    ];
    let mut data = Data::from(Bytes::from(json));
    data.append(&tensors);
    (headers, frames(&data)).into_response()
}

/// Bytes of the JSON in front, if the request tells.
fn json_len(headers: &HeaderMap) -> Result<Option<usize>, InferError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(len) => Ok(Some(len)),
        None => Err(InferError::Invalid(format!("{HEADER_LENGTH}: {value:?} is no length"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(HEADER_LENGTH, text.parse().unwrap())]);
            json_len(&headers).ok().flatten()
        };
        assert_eq!((read("0"), read("17")), (Some(0), Some(17)));
        for wrong in ["", "-1", "+1", "1.0", "0x10", "99999999999999999999", "é"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(json_len(&HeaderMap::new()).unwrap(), None);
    }
}
