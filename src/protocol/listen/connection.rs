//! One connection, from its handshake to its end: who gets how long, and how it is closed.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tower::Service;

use super::Life;
use super::stream::{Http, Stream};
use super::tls::{ClientCert, Tls};

/// Bytes of a request's headers. More are answered with 431.
const HEADER_BYTES: u32 = 16 << 10;

/// How long a client may leave a ping unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A tensor should come in few, large DATA frames: each is a piece of memory of its own, and what
/// came in one piece is not copied. Such pieces are counted by no budget until they are whole, so
/// this times the connections bounds what clients can make the server hold.
const FRAME_BYTES: u32 = 1 << 20;

/// What may be under way before the server has read it: a large frame of one request, and of
/// several at a time, so that a sender does not wait for a round trip between frames.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How connections are served: what hyper is told, once for all of them.
pub(super) struct Manner {
    one: http1::Builder,
    two: http2::Builder<TokioExecutor>,
    max_age: Option<Duration>,
    grace: Duration,
    leaving: Arc<AtomicBool>,
}

impl Manner {
    pub(super) fn new(life: &Life) -> Manner {
        let mut one = http1::Builder::new();
        // No `pipeline_flush`: it withholds the answer to a broken head for as long as there is more
        // to read, which is until the connection closes.
        one.timer(TokioTimer::new())
            .header_read_timeout(life.idle)
            .max_header_size(HEADER_BYTES as usize);
        let mut two = http2::Builder::new(TokioExecutor::new());
        two.timer(TokioTimer::new())
            .keep_alive_interval(life.keepalive)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(life.max_streams)
            .max_header_list_size(HEADER_BYTES)
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let leaving = life.leaving.clone();
        Manner { one, two, max_age: life.max_age, grace: life.grace, leaving }
    }

    /// Serves a connection that must have made its first request by `first_by`: neither a
    /// handshake, nor half a header, nor an HTTP/2 connection without a request holds a place for
    /// longer.
    pub(super) async fn serve(
        &self,
        stream: Stream,
        tls: Option<&Tls>,
        router: Router,
        first_by: Instant,
        mut stop: watch::Receiver<bool>,
    ) {
        let greet = async {
            let (mut stream, cert) = match tls {
                Some(tls) => tls.accept(stream).await?,
                None => (stream, None),
            };
            Ok::<_, std::io::Error>((stream.recognise().await?, stream, cert))
        };
        let greeted = tokio::select! {
            // A request that is there already is answered.
            biased;
            greeted = timeout_at(first_by, greet) => greeted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (http, stream, cert) = match greeted {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => return tracing::debug!(%error, "no handshake"),
            Err(_) => return tracing::debug!("nothing came in time"),
        };
        let signs = Arc::new(Signs::default());
        let leaving = self.leaving.clone();
        let requests = Requests { router, cert, http, signs: signs.clone(), leaving };
        let (io, times) = (TokioIo::new(stream), (first_by, stop));
        match http {
            Http::One => {
                self.keep(self.one.serve_connection(io, requests), http, &signs, times).await;
            }
            Http::Two => {
                self.keep(self.two.serve_connection(io, requests), http, &signs, times).await;
            }
        }
    }

    async fn keep<C>(
        &self,
        connection: C,
        http: Http,
        signs: &Signs,
        (first_by, mut stop): (Instant, watch::Receiver<bool>),
    ) where
        C: GracefulConnection,
        C::Error: Display,
    {
        let mut connection = pin!(connection);
        let mut first = pin!(sleep_until(first_by));
        let mut age = pin!(sleep(self.max_age.map(vary).unwrap_or_default()));
        let (mut waiting, mut ageing) = (true, self.max_age.is_some());
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return tell(ended),
                () = first.as_mut(), if waiting => {
                    if !signs.asked.load(Ordering::Relaxed) {
                        return tracing::debug!("no request came in time");
                    }
                    waiting = false;
                }
                _ = stop.wait_for(|stop| *stop) => break,
                () = age.as_mut(), if ageing => match http {
                    // Closing while a request is on its way would lose it, and HTTP/1 can say so
                    // only in an answer. An idle connection ends by its idle timeout.
                    Http::One => {
                        signs.old.store(true, Ordering::Relaxed);
                        ageing = false;
                    }
                    Http::Two => break,
                },
            }
        }
        connection.as_mut().graceful_shutdown();
        match timeout(self.grace, connection).await {
            Ok(ended) => tell(ended),
            Err(_) => tracing::debug!("connection cut off: its grace is over"),
        }
    }
}

fn tell<E: Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Give or take a tenth, so that connections that were opened together are not closed together.
fn vary(age: Duration) -> Duration {
    // The standard library's only source of chance.
    let chance = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    age.mul_f64(0.9 + 0.2 * chance)
}

/// What a connection's requests and its keeper tell each other.
#[derive(Default)]
struct Signs {
    /// A request was received.
    asked: AtomicBool,
    /// The next answer shall be the last.
    old: AtomicBool,
}

/// Hands the requests of one connection to the router.
struct Requests {
    router: Router,
    cert: Option<ClientCert>,
    http: Http,
    signs: Arc<Signs>,
    leaving: Arc<AtomicBool>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.signs.asked.store(true, Ordering::Relaxed);
        if let Some(cert) = &self.cert {
            request.extensions_mut().insert(cert.clone());
        }
        // A router is always ready.
        let answer = self.router.clone().call(request);
        let (http, signs, leaving) = (self.http, self.signs.clone(), self.leaving.clone());
        Box::pin(async move {
            let mut response = answer.await?;
            let last = signs.old.load(Ordering::Relaxed) || leaving.load(Ordering::Relaxed);
            if http == Http::One && last {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_vary_by_a_tenth_at_most() {
        let ages: Vec<_> = (0..1000).map(|_| vary(Duration::from_secs(100))).collect();
        let within = Duration::from_secs(90)..=Duration::from_secs(110);
        assert!(ages.iter().all(|age| within.contains(age)));
        assert!(ages.iter().max().unwrap().abs_diff(*ages.iter().min().unwrap()).as_secs() > 10);
    }
}
