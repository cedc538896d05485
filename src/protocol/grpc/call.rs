//! One call from its headers to its trailers: a unary one, or a stream of messages that are
//! answered one by one.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tonic::Status;

use super::frame::{self, Encoding, Incoming, Messages, Packed};
use super::status;
use crate::error::InferError;
use crate::protocol::body::Share;
use crate::protocol::http::{Arrival, Asks, Shared, asks, tell};
use crate::repository::Commands;
use crate::router::ModelSpec;
use crate::service::{Routed, Ticket};
use crate::telemetry::trace::Stage;
use crate::tensor::Data;

/// Messages of one stream that are worked on at a time.
const STREAMED: usize = 32;

/// What a call brings beside its messages.
pub struct Context {
    /// What handlers need.
    pub shared: Arc<Shared>,
    /// The call's headers and extensions.
    pub parts: Parts,
    /// When it came.
    pub started: Instant,
    /// The time its caller gives (`grpc-timeout`).
    pub timeout: Option<Duration>,
    ticket: OnceLock<Arc<Ticket>>,
    incoming: Option<Encoding>,
    outgoing: Option<Encoding>,
}

impl Context {
    fn new(shared: Arc<Shared>, parts: Parts) -> Result<Context, InferError> {
        let incoming = Encoding::of_request(&parts.headers)?;
        let outgoing = incoming.and_then(|e| e.of_answer(&parts.headers));
        let timeout = timeout(&parts.headers)?;
        let ticket = OnceLock::new();
        Ok(Context { shared, parts, started: Instant::now(), timeout, ticket, incoming, outgoing })
    }

    /// Picks the version that answers. `call` is the RPC's name.
    pub async fn route(&self, spec: &ModelSpec, call: &'static str) -> Result<Routed, InferError> {
        let arrival = Arrival::new(call, &self.parts, self.started);
        let timeout = || self.asks().ok().and_then(|asks| asks.timeout);
        let routed = self.shared.route(spec, &arrival, timeout).await?;
        routed.passed(Stage::Decode, self.started.elapsed());
        // Of a stream, which has one head for all its answers, the first.
        drop(self.ticket.set(routed.ticket.clone()));
        Ok(routed)
    }

    /// What asks the repository to load and unload, if this caller may.
    pub fn commands(&self, asked: &str, model: &str) -> Result<&Commands, InferError> {
        self.shared.commands(&self.parts.extensions, asked, model)
    }

    /// What its headers ask for.
    pub fn asks(&self) -> Result<Asks, InferError> {
        let asks = asks(&self.parts.headers)?;
        Ok(Asks { timeout: [asks.timeout, self.timeout].into_iter().flatten().min(), ..asks })
    }

    /// How long a message may take to come.
    fn patience(&self) -> Duration {
        self.timeout.unwrap_or_else(|| self.shared.service.default_timeout())
    }

    /// Unpacks and decodes a message, off this thread if that takes long.
    async fn decode<M: Send + 'static>(
        &self,
        packed: Packed,
        share: &mut Share,
        decode: fn(Data) -> Result<M, InferError>,
    ) -> Result<M, InferError> {
        let limit = self.shared.bodies.limit();
        let data = if packed.is_compressed() {
            let data = self.shared.service.work(None, limit, move || packed.unpack(limit));
            let data = data.await??;
            self.shared.bodies.grow(share, data.len())?;
            data
        } else {
            packed.unpack(limit)?
        };
        decode(data)
    }

    async fn encode<M: Message + 'static>(&self, message: M) -> Result<Bytes, InferError> {
        let outgoing = self.outgoing;
        let len = if outgoing.is_some() { message.encoded_len() } else { 0 };
        self.shared.service.work(None, len, move || frame::encode(&message, outgoing)).await?
    }
}

/// Counts an answer as what it would be over HTTP.
pub fn finish<R>(routed: Routed, answer: Result<R, InferError>) -> Result<R, InferError> {
    routed.finish(answer.as_ref().map_or_else(|e| e.code().http(), |_| 200));
    answer
}

/// Answers a call that has one message each way.
pub async fn unary<M, R, F>(
    shared: Arc<Shared>,
    request: Request<Body>,
    decode: fn(Data) -> Result<M, InferError>,
    handle: impl FnOnce(Arc<Context>, M) -> F,
) -> Response<Body>
where
    M: Send + 'static,
    R: Message + 'static,
    F: Future<Output = Result<R, InferError>>,
{
    let (parts, body) = request.into_parts();
    let answer = async {
        let context = Arc::new(Context::new(shared, parts)?);
        let bodies = &context.shared.bodies;
        let mut messages = Messages::new(body, context.incoming);
        let Incoming { mut share, packed } = messages.only(bodies, context.patience()).await?;
        let message = context.decode(packed, &mut share, decode).await?;
        let answer = handle(context.clone(), message).await?;
        let frame = context.encode(answer).await?;
        drop(share);
        Ok((frame, context.outgoing, context.ticket.get().cloned()))
    };
    match answer.await {
        Ok((frame, outgoing, ticket)) => {
            let trailers = status::trailers(&Status::ok(""));
            let body = Full::new(frame).with_trailers(std::future::ready(Some(Ok(trailers))));
            let mut response = respond(Body::new(body), outgoing);
            if let Some(ticket) = ticket {
                tell(&ticket, response.headers_mut());
            }
            response
        }
        Err::<_, InferError>(error) => status::refusal(&error),
    }
}

/// Answers a stream message by message, in the order they came; several are worked on at a time.
/// What `handle` makes of a fault is a message too, so that one bad request does not end the stream.
pub async fn streaming<M, R, F, H>(
    shared: Arc<Shared>,
    request: Request<Body>,
    decode: fn(Data) -> Result<M, InferError>,
    handle: H,
) -> Response<Body>
where
    M: Send + 'static,
    R: Message + 'static,
    F: Future<Output = R> + Send + 'static,
    H: Fn(Arc<Context>, Result<M, InferError>) -> F + Clone + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let context = match Context::new(shared, parts) {
        Ok(context) => Arc::new(context),
        Err(error) => return status::refusal(&error),
    };
    let (messages, outgoing) = (Messages::new(body, context.incoming), context.outgoing);
    let read = stream::unfold(Some((messages, context)), |state| async {
        let (mut messages, context): (Messages, Arc<Context>) = state?;
        let mut drain = context.shared.drain.clone();
        let next = tokio::select! {
            next = messages.next(&context.shared.bodies, context.patience()) => next,
            _ = drain.wait_for(|drain| *drain) => Err(InferError::ShuttingDown),
        };
        match next {
            Ok(Some(message)) => Some((Ok((message, context.clone())), Some((messages, context)))),
            Ok(None) => None,
            // What comes after a broken frame can't be told apart.
            Err(error) => Some((Err(error), None)),
        }
    });
    let answers = read.map(move |read| {
        let handle = handle.clone();
        async move {
            let (Incoming { mut share, packed }, context) = read?;
            let decoded = context.decode(packed, &mut share, decode).await;
            let answer = handle(context.clone(), decoded).await;
            context.encode(answer).await
        }
    });
    let frames = answers.buffered(STREAMED).map(Some).chain(stream::iter([None]));
    let frames = frames.scan(false, |ended, frame| {
        let frame = match frame {
            _ if *ended => None,
            Some(Ok(frame)) => Some(Frame::data(frame)),
            Some(Err(error)) => {
                *ended = true;
                Some(Frame::trailers(status::trailers(&status::status(&error))))
            }
            None => Some(Frame::trailers(status::trailers(&Status::ok("")))),
        };
        std::future::ready(frame.map(Ok::<_, InferError>))
    });
    respond(Body::new(StreamBody::new(frames)), outgoing)
}

fn respond(body: Body, outgoing: Option<Encoding>) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, status::CONTENT_TYPE);
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(Encoding::OFFER));
    if let Some(encoding) = outgoing {
        headers.insert("grpc-encoding", HeaderValue::from_static(encoding.name()));
    }
    response
}

/// `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, InferError> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let wrong = || InferError::Invalid(format!("grpc-timeout {value:?} is none"));
    let text = value.to_str().map_err(|_| wrong())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let n: u64 = digits.parse().map_err(|_| wrong())?;
    let timeout = match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return Err(wrong()),
    };
    // A caller that gives no time still needs an end; so does the arithmetic with instants.
    Ok(Some(timeout.min(Duration::from_secs(3600))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_of_a_timeout_and_nothing_else() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        for (text, expected) in [
            ("2S", Duration::from_secs(2)),
            ("500m", Duration::from_millis(500)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("7n", Duration::from_nanos(7)),
            ("1M", Duration::from_secs(60)),
            ("99999999H", Duration::from_secs(3600)),
        ] {
            assert_eq!(read(text).unwrap(), Some(expected));
        }
        for text in ["", "S", "5", "-1S", "123456789S", "1.5S", "1d", "1µ"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
