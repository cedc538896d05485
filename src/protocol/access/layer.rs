//! Asks for a key around a router: `Authorization: Bearer TOKEN`, or `x-api-key: TOKEN`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use axum::response::IntoResponse;
use tower::{Layer, Service};

use super::keys::{Access, Key, Right};
use crate::error::{Code, InferError};
use crate::protocol::admin::is_page;
use crate::protocol::discard;
use crate::protocol::grpc::status::{is_grpc, refusal};
use crate::protocol::http::HttpError;
use crate::telemetry::metrics::Metrics;

const API_KEY: &str = "x-api-key";

/// What probes ask, which carry no keys.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
const OPEN_BELOW: [&str; 2] = ["/v2/health/", "/grpc.health.v1.Health/"];

/// What holds at all doors.
pub struct Rules {
    /// The keys; without them everyone may do everything.
    pub access: Option<Arc<Access>>,
    /// Whether `/metrics` and `/autoscale` ask for a key too.
    pub protect_metrics: bool,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
}

/// Lets requests with a key that has the right through.
#[derive(Clone)]
pub struct AccessLayer {
    rules: Arc<Rules>,
    right: Right,
}

/// Whose request it is, in its extensions, if keys are asked for.
#[derive(Clone)]
pub struct Caller(Arc<Key>);

impl Caller {
    /// The key's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Refuses what needs another right than that of the door: for the few requests that change
    /// what is served where others only ask.
    pub fn demand(&self, right: Right) -> Result<(), InferError> {
        self.0.demand(right)
    }

    /// Counts one more request against the key's rate: for a message of a stream, since only the
    /// stream was counted when it began.
    pub fn admit(&self) -> Result<(), InferError> {
        self.0.admit()
    }
}

impl AccessLayer {
    /// Demands a right.
    pub fn new(rules: Arc<Rules>, right: Right) -> AccessLayer {
        AccessLayer { rules, right }
    }

    fn is_open(&self, path: &str) -> bool {
        OPEN.contains(&path)
            || (self.right == Right::Admin && is_page(path))
            || OPEN_BELOW.iter().any(|open| path.starts_with(open))
            || (matches!(path, "/metrics" | "/autoscale") && !self.rules.protect_metrics)
    }

    fn check(&self, request: &Request<Body>) -> Result<Option<Caller>, InferError> {
        let Some(access) = &self.rules.access else { return Ok(None) };
        if self.is_open(request.uri().path()) {
            return Ok(None);
        }
        access.admit(token(request.headers()), self.right).map(|key| Some(Caller(key))).inspect_err(
            |error| {
                let reason = match error.code() {
                    Code::PermissionDenied => "forbidden",
                    Code::ResourceExhausted => "rate_limited",
                    _ => "unauthenticated",
                };
                self.rules.metrics.access_refused.with_label_values(&[reason]).inc();
            },
        )
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, layer: self.clone() }
    }
}

/// A service behind an [`AccessLayer`].
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    layer: AccessLayer,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.layer.check(&request) {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Box::pin(self.inner.call(request))
            }
            Err(error) if is_grpc(request.headers()) => {
                let refused = refusal(&error);
                Box::pin(async { Ok(refused) })
            }
            Err(error) => Box::pin(async move {
                let waits = request.headers().contains_key(header::EXPECT);
                // A client that waits to be told to send has nothing under way.
                if !waits {
                    discard(request.body_mut()).await;
                }
                Ok(HttpError(error).into_response())
            }),
        }
    }
}

/// The token that came, whatever is in it.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    });
    bearer.or_else(|| headers.get(API_KEY).map(|value| value.as_bytes().trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::http::StatusCode;
    use tower::ServiceExt;

    fn guarded(protect_metrics: bool) -> (tempfile::TempDir, Arc<Rules>, Router) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let key = |name: &str, right: &str, more: &str| {
            let sha256 = super::super::hash(name.as_bytes());
            format!(
                "[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrights = [\"{right}\"]\n{more}\n"
            )
        };
        let text = key("one", "predict", "")
            + &key("two", "admin", "")
            + &key("few", "predict", "rate = 0.1\nburst = 1");
        std::fs::write(&path, text).unwrap();
        let access = Some(Access::start(&path).unwrap());
        let metrics = Metrics::new(true).unwrap();
        let rules = Arc::new(Rules { access, protect_metrics, metrics });
        let router = Router::new().fallback(|request: Request<Body>| async move {
            request
                .extensions()
                .get::<Caller>()
                .map_or("nobody".to_owned(), |c| c.name().to_owned())
        });
        (dir, rules.clone(), router.layer(AccessLayer::new(rules, Right::Predict)))
    }

    async fn ask(router: &Router, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_comes_in_either_header_and_names_the_caller() {
        let (_dir, rules, router) = guarded(false);
        for header in [
            ("authorization", "Bearer one"),
            ("authorization", "bearer  one"),
            ("x-api-key", "one"),
        ] {
            let answer = ask(&router, "/x", &[header]).await;
            assert_eq!(answer.status(), StatusCode::OK, "{header:?}");
            let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
            assert_eq!(body, "one");
        }
        for headers in [&[][..], &[("authorization", "Basic one")], &[("x-api-key", "One")]] {
            let answer = ask(&router, "/x", headers).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{headers:?}");
            assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
        }
        assert_eq!(ask(&router, "/x", &[("x-api-key", "two")]).await.status(), 403);
        assert_eq!(ask(&router, "/x", &[("x-api-key", "few")]).await.status(), 200);
        let refused = ask(&router, "/x", &[("x-api-key", "few")]).await;
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &"10".parse().unwrap())
        );
        let count = |reason: &str| rules.metrics.access_refused.with_label_values(&[reason]).get();
        assert_eq!(["unauthenticated", "forbidden", "rate_limited"].map(count), [3, 1, 1]);
    }

    #[tokio::test]
    async fn grpc_is_refused_in_its_own_words() {
        let (_dir, _, router) = guarded(false);
        let grpc = ("content-type", "application/grpc");
        let answer = ask(&router, "/a.B/C", &[grpc]).await;
        assert_eq!(
            (answer.status(), &answer.headers()["grpc-status"]),
            (StatusCode::OK, &"16".parse().unwrap())
        );
        let answer = ask(&router, "/a.B/C", &[grpc, ("authorization", "Bearer two")]).await;
        assert_eq!(answer.headers()["grpc-status"], "7");
    }

    #[tokio::test]
    async fn probes_need_no_key_and_metrics_none_unless_told() {
        let (_dir, _, router) = guarded(false);
        let health = "/grpc.health.v1.Health/Check";
        for path in ["/healthz", "/readyz", "/v2/health/ready", health, "/metrics", "/autoscale"] {
            assert_eq!(ask(&router, path, &[]).await.status(), 200, "{path}");
        }
        for path in ["/healthz/", "/v2/health", "/v2/models", "/metrics/x"] {
            assert_eq!(ask(&router, path, &[]).await.status(), 401, "{path}");
        }
        let (_dir, _, router) = guarded(true);
        for path in ["/metrics", "/autoscale"] {
            assert_eq!(ask(&router, path, &[]).await.status(), 401, "{path}");
        }
    }
}
