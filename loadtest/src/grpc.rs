//! Unary gRPC calls, multiplexed over a fixed number of HTTP/2 connections.

use std::cell::RefCell;
use std::future::Future;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cli::Plan;
use crate::client::Outcome;

/// Calls that share their connections.
pub struct Calls {
    uri: Uri,
    headers: HeaderMap,
    frames: Vec<Bytes>,
    connections: RefCell<Vec<Option<SendRequest<Full<Bytes>>>>>,
}

impl Calls {
    /// Calls over `connections`; each body of the plan is a message.
    pub fn new(plan: &Plan, connections: usize) -> Calls {
        let frame = |(message, _): &(Bytes, HeaderValue)| {
            let mut frame = BytesMut::with_capacity(5 + message.len());
            frame.put_u8(0);
            frame.put_u32(message.len() as u32);
            frame.extend_from_slice(message);
            frame.freeze()
        };
        let mut frames: Vec<Bytes> = plan.bodies.iter().map(frame).collect();
        if frames.is_empty() {
            frames.push(Bytes::from_static(&[0; 5]));
        }
        let mut headers = plan.headers.clone();
        headers.remove(hyper::header::HOST);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let uri = Uri::builder()
            .scheme("http")
            .authority(plan.address.to_string())
            .path_and_query(plan.uri.path())
            .build()
            .unwrap_or_default();
        Calls { uri, headers, frames, connections: RefCell::new(vec![None; connections]) }
    }

    /// Makes call `number` and reads its answer.
    pub async fn exchange(&self, number: usize, plan: &Plan) -> Outcome {
        let slot = number % self.connections.borrow().len();
        let kept = self.connections.borrow()[slot].clone().filter(|kept| !kept.is_closed());
        let mut sender = match kept {
            Some(kept) => kept,
            None => match connect(plan).await {
                Ok(new) => {
                    self.connections.borrow_mut()[slot] = Some(new.clone());
                    new
                }
                Err(_) => return Outcome::NotConnected,
            },
        };
        if sender.ready().await.is_err() {
            return Outcome::Broken;
        }
        let mut request = Request::new(Full::new(self.frames[number % self.frames.len()].clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let Ok(answer) = sender.send_request(request).await else { return Outcome::Broken };
        let mut status = grpc_status(answer.headers());
        let (mut bytes, mut body) = (0, answer.into_body());
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Outcome::Broken };
            bytes += frame.data_ref().map_or(0, Bytes::len);
            status = frame.trailers_ref().and_then(grpc_status).or(status);
        }
        Outcome::Answered(status.map_or(500, http_status), bytes)
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The HTTP status that REST has for the same, so that both are told alike.
fn http_status(grpc: u16) -> u16 {
    match grpc {
        0 => 200,
        3 | 9 => 400,
        4 => 504,
        5 => 404,
        8 => 429,
        12 => 501,
        14 => 503,
        _ => 500,
    }
}

#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move { drop(future.await) });
    }
}

async fn connect(plan: &Plan) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::handshake(Local, TokioIo::new(stream)).await?;
    // Its end shows when the sender is used again.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}
