//! What the fake API keeps, and how it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

type Parameters = BTreeMap<String, String>;

#[derive(Clone)]
pub struct Api {
    pub inner: Arc<Mutex<Inner>>,
    pub news: Arc<watch::Sender<()>>,
}

#[derive(Default)]
pub struct Inner {
    pub version: u64,
    pub objects: BTreeMap<(String, String), Value>,
    /// What watches are told: the version, the type, the object.
    pub log: Vec<(u64, &'static str, Value)>,
    /// Versions below it are forgotten.
    pub oldest: u64,
    pub gone_as_event: bool,
    pub silent: bool,
    pub lose_write: Option<Lost>,
    pub read_only: bool,
    pub refusing: Option<u16>,
    pub requests: Vec<String>,
}

/// How an answer is lost.
#[derive(Clone, Copy)]
pub enum Lost {
    Broken,
    TimedOut,
}

impl Inner {
    pub fn keep(
        &mut self,
        namespace: &str,
        name: &str,
        mut object: Value,
        kind: &'static str,
    ) -> Value {
        self.version += 1;
        object["kind"] = json!("ConfigMap");
        object["apiVersion"] = json!("v1");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(namespace);
        self.tell(kind, object);
        let (_, _, object) = self.log.last().unwrap().clone();
        self.objects.insert((namespace.to_owned(), name.to_owned()), object.clone());
        object
    }

    pub fn tell(&mut self, kind: &'static str, mut object: Value) {
        object["kind"] = json!("ConfigMap");
        object["apiVersion"] = json!("v1");
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log.push((self.version, kind, object));
    }
}

pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": { "kind": "configmaps" }, "code": code })
}

fn refuse(code: u16, reason: &str, message: &str) -> Response {
    answer(code, &status(code, reason, message))
}

fn answer(code: u16, body: &Value) -> Response {
    let head = [("content-type", "application/json")];
    (StatusCode::from_u16(code).unwrap(), head, body.to_string()).into_response()
}

/// What every request passes: it may have to wait, or be refused.
async fn enter(api: &Api, request: String) -> Option<Response> {
    let mut news = api.news.subscribe();
    while api.inner.lock().unwrap().silent {
        drop(news.changed().await);
    }
    let mut inner = api.inner.lock().unwrap();
    inner.requests.push(request);
    inner.refusing.map(|code| refuse(code, "", "told to refuse"))
}

pub async fn collection(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(parameters): Query<Parameters>,
    method: Method,
    body: Bytes,
) -> Response {
    let from = parameters.get("resourceVersion").map_or("", String::as_str);
    let watches = parameters.get("watch").is_some_and(|w| w == "true");
    let request = match method {
        Method::POST => "POST".to_owned(),
        _ if watches => format!("WATCH {from}"),
        _ => "LIST".to_owned(),
    };
    if let Some(refused) = enter(&api, request).await {
        return refused;
    }
    let selected = parameters.get("fieldSelector").and_then(|f| f.strip_prefix("metadata.name="));
    if method == Method::POST {
        let object: Value = serde_json::from_slice(&body).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let dry = parameters.contains_key("dryRun");
        return write(&api, &namespace, &name, object, (false, dry));
    }
    if watches {
        return watch_from(&api, &parameters, namespace, selected.unwrap().to_owned(), from);
    }
    let inner = api.inner.lock().unwrap();
    let items = inner.objects.iter().filter(|((n, name), _)| {
        *n == namespace && selected.is_none_or(|selected| selected == name)
    });
    let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
    let version = inner.version.to_string();
    answer(
        200,
        &json!({ "kind": "ConfigMapList", "apiVersion": "v1",
            "metadata": { "resourceVersion": version }, "items": items }),
    )
}

pub async fn object(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    method: Method,
    body: Bytes,
) -> Response {
    if let Some(refused) = enter(&api, method.to_string()).await {
        return refused;
    }
    if method == Method::PUT {
        let object = serde_json::from_slice(&body).unwrap();
        let dry = parameters.contains_key("dryRun");
        return write(&api, &namespace, &name, object, (true, dry));
    }
    let found = api.inner.lock().unwrap().objects.get(&(namespace, name.clone())).cloned();
    let missing = || refuse(404, "NotFound", &format!("configmaps \"{name}\" not found"));
    found.map_or_else(missing, |object| answer(200, &object))
}

fn write(
    api: &Api,
    namespace: &str,
    name: &str,
    object: Value,
    (replace, dry): (bool, bool),
) -> Response {
    let mut inner = api.inner.lock().unwrap();
    if inner.read_only {
        return refuse(403, "Forbidden", "configmaps is forbidden");
    }
    let data = object["data"].as_object().cloned().unwrap_or_default();
    let fine = |key: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        (1..=253).contains(&key.len()) && key.bytes().all(known) && !key.starts_with("..")
    };
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().unwrap().len();
    if !data.keys().all(|key| fine(key)) || data.iter().map(size).sum::<usize>() > 1 << 20 {
        return refuse(422, "Invalid", "ConfigMap is invalid");
    }
    let key = (namespace.to_owned(), name.to_owned());
    let wanted = &object["metadata"]["resourceVersion"];
    let kind = match (inner.objects.get(&key), replace) {
        (None, false) => "ADDED",
        (None, true) => return refuse(404, "NotFound", "configmaps not found"),
        (Some(_), false) => return refuse(409, "AlreadyExists", "configmaps already exists"),
        (Some(there), true) if there["metadata"]["resourceVersion"] == *wanted => "MODIFIED",
        (Some(_), true) if wanted.is_null() => "MODIFIED",
        (Some(_), true) => return refuse(409, "Conflict", "the object has been modified"),
    };
    if dry {
        return answer(if replace { 200 } else { 201 }, &object);
    }
    let kept = inner.keep(namespace, name, object, kind);
    api.news.send_replace(());
    match inner.lose_write.take() {
        Some(Lost::Broken) => {
            let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("lost"))]);
            return Body::from_stream(broken).into_response();
        }
        Some(Lost::TimedOut) => return refuse(504, "Timeout", "told to time out"),
        None => {}
    }
    answer(if replace { 200 } else { 201 }, &kept)
}

fn watch_from(
    api: &Api,
    parameters: &Parameters,
    namespace: String,
    name: String,
    from: &str,
) -> Response {
    let inner = api.inner.lock().unwrap();
    let mut seen: u64 = from.parse().unwrap();
    let mut gone = None;
    if seen < inner.oldest {
        let error = status(410, "Expired", "too old resource version");
        if !inner.gone_as_event {
            return answer(410, &error);
        }
        gone = Some(error);
    }
    let marks = parameters.get("allowWatchBookmarks").is_some_and(|m| m == "true");
    let seconds = parameters.get("timeoutSeconds").and_then(|s| s.parse().ok()).unwrap_or(1800);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut ended = false;
    let (api, news) = (api.clone(), api.news.subscribe());
    let also = api.clone();
    let silent = move || also.inner.lock().unwrap().silent;
    let next = move || {
        let inner = api.inner.lock().unwrap();
        if let Some(error) = gone.take() {
            ended = true;
            return Some(Some(("ERROR", error)));
        }
        if ended {
            return Some(None);
        }
        let own = |kind: &str, object: &Value| match kind {
            "BOOKMARK" => marks,
            "ERROR" => true,
            _ => {
                object["metadata"]["name"] == *name && object["metadata"]["namespace"] == *namespace
            }
        };
        let mut log = inner.log.iter().filter(|_| !inner.silent);
        let (version, kind, object) =
            log.find(|(version, kind, object)| *version > seen && own(kind, object))?;
        (seen, ended) = (*version, *kind == "ERROR");
        Some(Some((*kind, object.clone())))
    };
    let events = stream::unfold(next, move |mut next| {
        let (mut news, silent) = (news.clone(), silent.clone());
        async move {
            loop {
                news.mark_unchanged();
                match next() {
                    Some(None) => return None,
                    Some(Some((kind, object))) => {
                        let line = format!("{}\n", json!({ "type": kind, "object": object }));
                        return Some((Ok::<_, Infallible>(Bytes::from(line)), next));
                    }
                    None => {}
                }
                let ended = tokio::time::timeout_at(end, news.changed()).await.is_err();
                if ended && silent() {
                    std::future::pending::<()>().await;
                }
                if ended {
                    return None;
                }
            }
        }
    });
    ([("content-type", "application/json")], Body::from_stream(events)).into_response()
}
