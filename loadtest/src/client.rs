//! HTTP/1.1 over kept connections, or gRPC over shared ones.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cli::Plan;
use crate::grpc::Calls;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, read to its end: its status, and the bytes of its body.
    Answered(u16, usize),
    /// No connection could be made.
    NotConnected,
    /// The connection broke before the answer's end.
    Broken,
    /// No answer in time.
    TimedOut,
}

/// Sends requests, keeping the connections that are still good.
pub struct Client {
    plan: Plan,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
    calls: Option<Calls>,
}

impl Client {
    /// A client without a connection yet.
    pub fn new(plan: Plan) -> Client {
        let calls = plan.grpc.map(|connections| Calls::new(&plan, connections));
        Client { plan, idle: RefCell::default(), calls }
    }

    /// Bytes of the body of request `number`.
    pub fn body_len(&self, number: usize) -> usize {
        let bodies = &self.plan.bodies;
        if bodies.is_empty() { 0 } else { bodies[number % bodies.len()].0.len() }
    }

    /// Sends request `number` and reads its answer. Gives back when it was really begun, too.
    pub async fn send(&self, number: usize) -> (Outcome, Instant) {
        let begun = Instant::now();
        let outcome = tokio::time::timeout(self.plan.timeout, self.exchange(number)).await;
        (outcome.unwrap_or(Outcome::TimedOut), begun)
    }

    async fn exchange(&self, number: usize) -> Outcome {
        if let Some(calls) = &self.calls {
            return calls.exchange(number, &self.plan).await;
        }
        loop {
            let kept = self.idle.borrow_mut().pop();
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(kept) => kept,
                None => match connect(self.plan.address).await {
                    Ok(new) => new,
                    Err(_) => return Outcome::NotConnected,
                },
            };
            // The server may have closed a connection that was at rest.
            if sender.ready().await.is_err() {
                continue;
            }
            let answer = match sender.send_request(self.request(number)).await {
                Ok(answer) => answer,
                Err(e) if was_kept && (e.is_canceled() || e.is_closed()) => continue,
                Err(_) => return Outcome::Broken,
            };
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
                    Err(_) => return Outcome::Broken,
                }
            }
            self.idle.borrow_mut().push(sender);
            return Outcome::Answered(status, bytes);
        }
    }

    fn request(&self, number: usize) -> Request<Full<Bytes>> {
        let bodies = &self.plan.bodies;
        let (method, body, kind) = match bodies.get(number % bodies.len().max(1)) {
            Some((body, kind)) => (Method::POST, body.clone(), Some(kind.clone())),
            None => (Method::GET, Bytes::new(), None),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.plan.uri.clone();
        *request.headers_mut() = self.plan.headers.clone();
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        request
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream =
        tokio::time::timeout(Duration::from_secs(10), TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows when the sender is used again.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}
