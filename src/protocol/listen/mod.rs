//! The way in: sockets, TLS, and the life of a connection until it hands its requests to a router
//! and after. Knows no protocol above HTTP. Only the app opens doors here; handlers read
//! [`ClientCert`].

mod connection;
mod socket;
mod stream;
mod subject;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use connection::Manner;
use stream::Stream;

pub use socket::Socket;
pub use tls::{ClientCert, Tls, TlsSettings};

/// A client that has not sent its first request's headers by then is slow on purpose or gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same when few places are left: others may be waiting outside.
const CROWDED: Duration = Duration::from_secs(2);

/// What connections may do.
#[derive(Clone, Debug)]
pub struct Life {
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// From an HTTP/1 answer to the end of the next request's headers.
    pub idle: Duration,
    /// Time between HTTP/2 pings, if they are wanted.
    pub keepalive: Option<Duration>,
    /// When a connection is closed politely, if ever.
    pub max_age: Option<Duration>,
    /// Requests at a time on an HTTP/2 connection.
    pub max_streams: u32,
    /// How long requests in flight may take to finish on a connection that is to close.
    pub grace: Duration,
    /// Once set, each HTTP/1 answer is the last of its connection: the server is about to leave, and nothing
    /// else tells a client before the connection is closed under its next request.
    pub leaving: Arc<AtomicBool>,
}

/// Serves `router`, over TLS if it is TCP and there is any: whom a Unix socket lets in, its file's mode
/// says. Goes on until `stop` turns true, then lets requests in flight finish within the grace, and
/// gives back whether all of them did.
pub async fn serve(
    socket: Socket,
    tls: Option<Arc<Tls>>,
    router: Router,
    life: Life,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let tls = tls.filter(|_| matches!(socket, Socket::Tcp(_)));
    let manner = Arc::new(Manner::new(&life));
    let places = Arc::new(Semaphore::new(life.max_connections));
    // Each connection holds a receiver, so that the last one's end can be waited for.
    let (drain, draining) = watch::channel(false);
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&socket, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let crowded = places.available_permits() < life.max_connections / 4;
        let first_by = Instant::now() + if crowded { CROWDED } else { PATIENCE };
        let (manner, tls, router) = (manner.clone(), tls.clone(), router.clone());
        let draining = draining.clone();
        tokio::spawn(async move {
            manner.serve(stream, tls.as_deref(), router, first_by, draining).await;
            drop(place);
        });
    }
    drop((socket, draining));
    drain.send_replace(true);
    tokio::time::timeout(life.grace, drain.closed()).await.is_ok()
}

async fn accept(
    socket: &Socket,
    places: &Arc<Semaphore>,
) -> Option<(Stream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok(stream) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, mostly: trying at once again would spin.
            tracing::warn!(%error, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
