//! The doors: sockets bound before anything is loaded, opened when there is something to serve, and
//! closed in order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{StartError, other};
use crate::config::{Address, ClientAuth, ServeConfig};
use crate::protocol::access::{AccessLayer, Right};
use crate::protocol::grpc;
use crate::protocol::http::{self, Shared};
use crate::protocol::listen::{self, Life, Socket, Tls, TlsSettings};

/// Where each API is served; ports are the real ones if 0 was asked for.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) rest: Address,
    pub(super) grpc: Address,
    pub(super) admin: Address,
}

/// Sockets that are bound and not yet served.
pub(super) struct Bound {
    pub(super) addresses: Addresses,
    rest: Socket,
    grpc: Option<Socket>,
    admin: Socket,
    tls: Option<Arc<Tls>>,
}

/// Doors that are open.
pub(super) struct Doors {
    stop_serving: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    serving: Vec<JoinHandle<bool>>,
    admin: JoinHandle<bool>,
}

impl Bound {
    /// Binds what the settings name: a port that is taken or a broken certificate is told at once.
    pub(super) async fn bind(config: &ServeConfig) -> Result<Bound, StartError> {
        let tls = tls_settings(config).map(Tls::start).transpose().map_err(StartError::Other)?;
        let rest = bind(&config.rest_addr, "--rest-addr").await?;
        let grpc = match config.single_port {
            true => None,
            false => Some(bind(&config.grpc_addr, "--grpc-addr").await?),
        };
        let admin = bind(&config.admin_addr, "--admin-addr").await?;
        let address = |socket: &Socket| socket.address().map_err(other);
        let addresses = Addresses {
            rest: address(&rest)?,
            grpc: address(grpc.as_ref().unwrap_or(&rest))?,
            admin: address(&admin)?,
        };
        Ok(Bound { addresses, rest, grpc, admin, tls })
    }

    /// Serves on all of them.
    pub(super) fn open(
        self,
        shared: &Arc<Shared>,
        config: &ServeConfig,
        stop_serving: watch::Sender<bool>,
    ) -> Doors {
        let stopped = stop_serving.subscribe();
        let (stop_admin, admin_stopped) = watch::channel(false);
        let life = life(config, shared);
        let serve = |socket: Socket, tls, router: Router, stopped| {
            tokio::spawn(listen::serve(socket, tls, router, life.clone(), stopped))
        };
        let rest = http::rest(shared.clone());
        let keys = AccessLayer::new(shared.rules.clone(), Right::Predict);
        let grpc = grpc::router(shared.clone()).layer(keys);
        // Who is on this machine needs no TLS to be told from others.
        let admin_tls = self.tls.clone().filter(|_| config.is_admin_open());
        let serving = match self.grpc {
            Some(socket) => vec![
                serve(self.rest, self.tls.clone(), rest, stopped.clone()),
                serve(socket, self.tls, grpc, stopped),
            ],
            None => vec![serve(self.rest, self.tls, http::single_port(rest, grpc), stopped)],
        };
        let admin = serve(self.admin, admin_tls, http::admin(shared.clone()), admin_stopped);
        Doors { stop_serving, stop_admin, serving, admin }
    }
}

impl Doors {
    /// Lets requests in flight finish. Gives back whether all of them did.
    pub(super) async fn drain(&mut self) -> bool {
        self.stop_serving.send_replace(true);
        let mut drained = true;
        // They drain at the same time, each within the grace.
        for door in self.serving.drain(..) {
            drained &= door.await.unwrap_or(false);
        }
        drained
    }

    /// Closes the admin API, which stays until the end so that probes and scrapes see the drain.
    pub(super) async fn close(self) {
        self.stop_admin.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(1), self.admin).await;
    }
}

fn life(config: &ServeConfig, shared: &Shared) -> Life {
    let unless_zero = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    Life {
        max_connections: config.max_connections,
        idle: Duration::from_millis(config.http1_idle_ms),
        keepalive: unless_zero(config.http2_keepalive_ms),
        max_age: unless_zero(config.max_connection_age_ms),
        max_streams: config.max_concurrent_streams,
        grace: Duration::from_millis(config.grace_ms),
        leaving: shared.stopping.clone(),
    }
}

/// For REST and gRPC, and for the admin API where others than this machine reach it.
fn tls_settings(config: &ServeConfig) -> Option<TlsSettings> {
    let clients = config.tls_client_ca.path().map(|ca| (ca.to_owned(), config.tls_client_auth));
    Some(TlsSettings {
        cert: config.tls_cert.path()?.to_owned(),
        key: config.tls_key.path()?.to_owned(),
        clients: clients.filter(|(_, auth)| *auth != ClientAuth::Off),
    })
}

async fn bind(address: &Address, flag: &'static str) -> Result<Socket, StartError> {
    let bound = Socket::bind(address).await;
    bound.map_err(|source| StartError::Bind { address: address.clone(), flag, source })
}
