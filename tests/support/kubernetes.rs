//! The part of the Kubernetes API that ConfigMaps are kept by, in this process, over plain HTTP;
//! and all the ways in which it is known to fail.

mod api;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

pub use api::Lost;
use api::{Api, Inner, collection, object, status};

pub struct FakeKubernetes {
    pub address: SocketAddr,
    api: Api,
    listening: Mutex<Option<AbortHandle>>,
}

impl FakeKubernetes {
    pub async fn start() -> FakeKubernetes {
        let inner = Inner { version: 100, oldest: 1, ..Inner::default() };
        let api = Api { inner: Arc::new(Mutex::new(inner)), news: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = FakeKubernetes { address, api, listening: Mutex::default() };
        fake.listen(listener);
        fake
    }

    pub fn client(&self) -> kube::Client {
        let mut config = self.config();
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    pub fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    fn listen(&self, listener: TcpListener) {
        let maps = "/api/v1/namespaces/{namespace}/configmaps";
        let router = Router::new()
            .route(maps, any(collection))
            .route(&format!("{maps}/{{name}}"), any(object))
            .with_state(self.api.clone());
        let accept = async move {
            // Aborted with this task: all connections break.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        *self.listening.lock().unwrap() = Some(task);
    }

    /// Refuses connections, and breaks those there are.
    pub async fn go_away(&self) {
        let task = self.listening.lock().unwrap().take();
        if let Some(task) = task {
            task.abort();
            while !task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    pub async fn come_back(&self) {
        self.listen(TcpListener::bind(self.address).await.unwrap());
    }

    /// Breaks all connections, and takes new ones at once.
    pub async fn drop_connections(&self) {
        self.go_away().await;
        self.come_back().await;
    }

    /// Takes requests and says nothing, neither to them nor to watches.
    pub fn set_silent(&self, silent: bool) {
        self.lock().silent = silent;
        self.api.news.send_replace(());
    }

    /// Does the next write, and breaks its connection instead of answering, or has a proxy say
    /// that it got no answer.
    pub fn lose_next_answer(&self, how: Lost) {
        self.lock().lose_write = Some(how);
    }

    /// Answers all requests with an error, or no longer.
    pub fn set_refusing(&self, code: Option<u16>) {
        self.lock().refusing = code;
    }

    /// Lets nobody write, or everybody.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// Forgets all versions before the present one; says so to watches from them by an event or by
    /// the HTTP status.
    pub fn forget(&self, as_event: bool) {
        let mut inner = self.lock();
        inner.version += 10;
        (inner.oldest, inner.gone_as_event) = (inner.version, as_event);
    }

    /// Moves on by what others do elsewhere, and tells watches.
    pub fn bookmark(&self) {
        let mut inner = self.lock();
        inner.version += 10;
        inner.tell("BOOKMARK", json!({}));
        self.api.news.send_replace(());
    }

    /// Ends all watches by an event.
    pub fn send_error(&self, code: u16) {
        let mut inner = self.lock();
        inner.version += 1;
        let (version, error) = (inner.version, status(code, "Expired", "told to fail"));
        inner.log.push((version, "ERROR", error));
        self.api.news.send_replace(());
    }

    /// Does as `kubectl edit` would. Nothing left: deletes.
    pub fn edit(&self, namespace: &str, name: &str, edit: impl FnOnce(&mut Option<Value>)) {
        let mut inner = self.lock();
        let mut object = inner.objects.remove(&(namespace.to_owned(), name.to_owned()));
        let before = object.clone();
        edit(&mut object);
        match object {
            Some(object) => {
                let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
                inner.keep(namespace, name, object, kind);
            }
            None => {
                inner.version += 1;
                inner.tell("DELETED", before.unwrap());
            }
        }
        self.api.news.send_replace(());
    }

    /// Requests so far, such as `LIST`, `WATCH 123`, `PUT`.
    pub fn requests(&self, kind: &str) -> usize {
        self.lock().requests.iter().filter(|r| r.starts_with(kind)).count()
    }

    pub fn object(&self, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.api.inner.lock().unwrap()
    }
}

impl Drop for FakeKubernetes {
    fn drop(&mut self) {
        self.listening.lock().unwrap().take().inspect(AbortHandle::abort);
    }
}
