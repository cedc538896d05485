//! Documents in one ConfigMap, for replicas of one cluster.
//!
//! Its service account needs `get`, `list`, `watch`, `update` and `create` on `configmaps`; all but
//! `create` can be bound to the one by `resourceNames`.

mod changes;
mod errors;
mod map;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::task::AbortHandle;

use super::signals::Signals;
use super::{Document, Histories, Store, StoreError, Watch, check, check_history};
use crate::control::backoff::Backoff;
use errors::{Refusal, refusal, told};

/// How patient the store is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long an answer may take.
    pub answer: Duration,
    /// How long to watch before asking anew. The longer, the later a dead connection is noticed.
    pub watch: Duration,
    /// How long to wait after the first failure; it doubles with each further one.
    pub retry_from: Duration,
    /// How long to wait at most.
    pub retry_to: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            answer: Duration::from_secs(10),
            watch: Duration::from_secs(60),
            retry_from: Duration::from_millis(200),
            retry_to: Duration::from_secs(15),
        }
    }
}

/// Keeps documents in a ConfigMap.
pub struct KubernetesStore {
    map: Map,
    signals: Arc<Signals>,
    watching: AbortHandle,
}

/// The ConfigMap.
#[derive(Clone)]
struct Map {
    api: Api<ConfigMap>,
    namespace: String,
    name: String,
    pace: Pace,
}

impl KubernetesStore {
    /// The ConfigMap `name` of the cluster this runs in, or that of the kubeconfig. `namespace` is
    /// the own one unless given. That the API answers is not needed.
    pub async fn infer(namespace: Option<&str>, name: &str) -> Result<KubernetesStore, StoreError> {
        let unreachable =
            |error| StoreError::Unreachable { place: "the Kubernetes API".to_owned(), error };
        let mut config = Config::infer().await.map_err(|e| unreachable(e.to_string()))?;
        // Its own retries would hide an outage for as long as they go on.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|e| unreachable(told(&e)))?;
        let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
        Ok(KubernetesStore::new(client, &namespace, name, Pace::default()))
    }

    /// The ConfigMap `name` in `namespace`, watched until this is dropped. Must be called within a
    /// tokio runtime.
    pub fn new(client: Client, namespace: &str, name: &str, pace: Pace) -> KubernetesStore {
        let api = Api::namespaced(client, namespace);
        let map = Map { api, namespace: namespace.to_owned(), name: name.to_owned(), pace };
        let signals = Arc::new(Signals::unknown());
        let watching = tokio::spawn(changes::follow(map.clone(), Arc::clone(&signals)));
        KubernetesStore { map, signals, watching: watching.abort_handle() }
    }
}

impl Drop for KubernetesStore {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Store for KubernetesStore {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn place(&self) -> String {
        self.map.place()
    }

    fn load(&self) -> BoxFuture<'_, Result<Histories, StoreError>> {
        Box::pin(async {
            let found = self.map.get().await?;
            Ok(map::read(&found.and_then(|m| m.data).unwrap_or_default()).histories)
        })
    }

    fn publish<'a>(
        &'a self,
        model: &'a str,
        document: Document,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            check(model, &document)?;
            let add = |data: &mut map::Data| map::add(data, model, &document);
            let changed = self.map.change(add, |data| map::holds(data, model, &document)).await;
            self.signals.wrote(&changed);
            changed
        })
    }

    fn restore<'a>(
        &'a self,
        model: &'a str,
        history: Vec<Document>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let history = check_history(model, history)?;
            let done = |data: &map::Data| map::covers(data, model, &history);
            let changed = self.map.change(|data| map::give_back(data, model, &history), done).await;
            self.signals.wrote(&changed);
            changed
        })
    }

    fn watch(&self) -> Watch {
        self.signals.watch()
    }
}

impl Map {
    fn place(&self) -> String {
        format!("configmap {}/{}", self.namespace, self.name)
    }

    fn unreachable(&self, error: String) -> StoreError {
        StoreError::Unreachable { place: self.place(), error }
    }

    async fn get(&self) -> Result<Option<ConfigMap>, StoreError> {
        let got = tokio::time::timeout(self.pace.answer, self.api.get_opt(&self.name)).await;
        let got = got.map_err(|_| self.unreachable(self.late()))?;
        got.map_err(|e| self.unreachable(told(&e)))
    }

    fn late(&self) -> String {
        format!("no answer within {:?}", self.pace.answer)
    }

    /// Reads, lets `add` change what was read, and writes it if nobody else has meanwhile; until
    /// that works out or `add` refuses. `done` tells whether the change is there.
    async fn change(
        &self,
        add: impl Fn(&mut map::Data) -> Result<(), StoreError>,
        done: impl Fn(&map::Data) -> bool,
    ) -> Result<(), StoreError> {
        let started = tokio::time::Instant::now();
        let mut pause = Backoff::new(Duration::from_millis(5), Duration::from_millis(200));
        let mut unsure: Option<String> = None;
        let mut tried = false;
        loop {
            let found = match self.get().await {
                Err(_) if unsure.is_some() && started.elapsed() < self.pace.answer => {
                    tokio::time::sleep(pause.next()).await;
                    continue;
                }
                found => found?,
            };
            let exists = found.is_some();
            let mut wanted = found.unwrap_or_default();
            let data = wanted.data.get_or_insert_default();
            // A write whose answer was lost may have come through, and even one that lost a race:
            // against itself, if the client sent it twice.
            if tried && done(data) {
                return Ok(());
            }
            add(data)?;
            tried = true;
            let put = self.put(exists, wanted, false);
            let written = tokio::time::timeout(self.pace.answer, put).await;
            match written.map_err(|_| self.late()) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => match refusal(&e) {
                    // Another model's documents may be what changed.
                    Refusal::Raced => {}
                    Refusal::Final => return Err(self.unreachable(told(&e))),
                    Refusal::Content => {
                        return Err(StoreError::Invalid(format!("{}: {}", self.place(), told(&e))));
                    }
                    Refusal::Unsure => unsure = Some(told(&e)),
                },
                Err(late) => unsure = Some(late),
            }
            if started.elapsed() > self.pace.answer {
                let error = unsure.unwrap_or_else(|| "others write all the time".to_owned());
                return Err(self.unreachable(error));
            }
            tokio::time::sleep(pause.next()).await;
        }
    }

    /// Whether it could be written: the API goes through all of a write but the last step.
    async fn try_out(&self) -> bool {
        let Ok(found) = self.get().await else { return false };
        let (exists, wanted) = (found.is_some(), found.unwrap_or_default());
        let tried = tokio::time::timeout(self.pace.answer, self.put(exists, wanted, true)).await;
        // Who lost a race was let in.
        tried.is_ok_and(|put| put.map_or_else(|e| refusal(&e) == Refusal::Raced, |()| true))
    }

    async fn put(&self, exists: bool, mut wanted: ConfigMap, dry_run: bool) -> kube::Result<()> {
        let how = PostParams { dry_run, field_manager: Some("ocelli".to_owned()) };
        if exists {
            // It carries the resourceVersion that was read.
            self.api.replace(&self.name, &how, &wanted).await.map(drop)
        } else {
            wanted.metadata.name = Some(self.name.clone());
            let labels = wanted.metadata.labels.get_or_insert_default();
            labels.insert("app.kubernetes.io/managed-by".to_owned(), "ocelli".to_owned());
            self.api.create(&how, &wanted).await.map(drop)
        }
    }
}
