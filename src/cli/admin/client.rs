//! Asks servers, and says in a line why one did not do what was asked.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use ureq::tls::TlsConfig;

use super::address::Address;
use super::words::clean;
use super::{Answers, Failure};

/// What may stand for itself in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Asks servers.
pub struct Client {
    agent: ureq::Agent,
    bearer: Option<HeaderValue>,
    /// Asked in turn until one can be reached.
    first: Vec<Address>,
    /// All that are to know of a change.
    replicas: Vec<Address>,
}

/// What is asked.
pub struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was asked.
    #[error("can't reach {0}; is the server running? name its address with --admin")]
    Unreachable(String),
    /// It may have been done all the same.
    #[error("{address} gave no answer ({why})")]
    Lost {
        /// Who was asked.
        address: Address,
        /// What went wrong.
        why: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// There is none of it: a model, or a rollout.
    #[error("{0}")]
    Missing(String),
}

impl Refusal {
    /// What it says beside the name of who was asked.
    pub fn beside(&self, address: &Address) -> String {
        match self {
            Refusal::Unreachable(why) => {
                let why = why.strip_prefix(&address.to_string()).unwrap_or(why);
                format!("can't be reached {}", why.trim_start())
            }
            Refusal::Lost { why, .. } => format!("gave no answer ({why})"),
            Refusal::Refused(why) | Refusal::Missing(why) => why.clone(),
        }
    }
}

impl Call {
    /// Reads something.
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), body: None }
    }

    /// Changes something.
    pub fn change(method: Method, path: impl Into<String>, body: Value) -> Call {
        Call { method, path: path.into(), body: Some(body) }
    }

    /// Removes something.
    pub fn delete(path: impl Into<String>) -> Call {
        Call { method: Method::DELETE, path: path.into(), body: None }
    }
}

/// The path of a model, or of something of it: `/traffic`.
pub fn of_model(model: &str, what: &str) -> String {
    format!("/admin/v1/models/{}{what}", utf8_percent_encode(model, PART))
}

impl Client {
    /// One that asks `first` in turn, and tells `replicas` of changes.
    pub fn new(
        token: Option<&str>,
        tls: TlsConfig,
        first: Vec<Address>,
        replicas: Vec<Address>,
    ) -> Result<Client, Failure> {
        let token = token.filter(|token| !token.is_empty());
        let bearer = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
        let bearer = bearer.transpose();
        let bearer = bearer.map_err(|_| "the token has characters that no header can carry")?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .timeout_connect(Some(Duration::from_secs(3)))
            .timeout_global(Some(Duration::from_secs(10)));
        Ok(Client { agent: config.build().into(), bearer, first, replicas })
    }

    /// All replicas, if they were named.
    pub fn replicas(&self) -> &[Address] {
        &self.replicas
    }

    /// The same client, which asks `address` first.
    pub fn prefer(mut self, address: &Address) -> Client {
        self.first.sort_by_key(|a| a != address);
        self
    }

    /// Asks the first server that can be reached, and tells which one that was.
    pub fn ask(&self, call: &Call) -> Result<(Address, Value), Refusal> {
        let mut reasons = Vec::new();
        for address in &self.first {
            match self.ask_at(address, call) {
                Ok(answer) => return Ok((address.clone(), answer)),
                Err(Refusal::Unreachable(why)) => reasons.push(why),
                // What only reads may be asked of another.
                Err(Refusal::Lost { address, why }) if call.method == Method::GET => {
                    reasons.push(format!("{address} ({why})"));
                }
                Err(lost @ Refusal::Lost { .. }) => {
                    return Err(Refusal::Refused(format!(
                        "{lost}: the change may have been made all the same; look before asking again"
                    )));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Unreachable(reasons.join(", ")))
    }

    /// Asks a certain server.
    pub fn ask_at(&self, address: &Address, call: &Call) -> Result<Value, Refusal> {
        self.send(address, call).and_then(|response| answer(address, response))
    }

    /// Asks a certain server a question that is answered by the status alone: 200 or 503.
    pub fn agrees(&self, address: &Address, path: &str) -> Result<bool, Refusal> {
        let response = self.send(address, &Call::get(path))?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            _ => answer(address, response).map(|_| true),
        }
    }

    fn send(&self, address: &Address, call: &Call) -> Result<Response<ureq::Body>, Refusal> {
        let mut request = Request::builder().method(&call.method).uri(address.url(&call.path));
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let sent = match &call.body {
            None => request.body(()).map_err(ureq::Error::from).and_then(|r| self.agent.run(r)),
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                let request = request.body(body.to_string()).map_err(ureq::Error::from);
                request.and_then(|r| self.agent.run(r))
            }
        };
        sent.map_err(|e| not_sent(address, &e))
    }

    /// Asks every replica at once, or the one server there is.
    pub fn each<T: Send>(&self, ask: impl Fn(&Address) -> Result<T, Refusal> + Sync) -> Answers<T> {
        let all = if self.replicas.is_empty() { &self.first } else { &self.replicas };
        let all: Vec<_> = all.iter().collect();
        in_parallel(&all, ask)
    }
}

/// Asks all of them at once.
pub fn in_parallel<T: Send>(
    all: &[&Address],
    ask: impl Fn(&Address) -> Result<T, Refusal> + Sync,
) -> Answers<T> {
    let ask = &ask;
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|a| (*a, scope.spawn(move || ask(a)))).collect();
        let joined = threads.into_iter().map(|(address, thread)| {
            let lost = || Refusal::Lost { address: address.clone(), why: "a bug here".to_owned() };
            (address.clone(), thread.join().unwrap_or_else(|_| Err(lost())))
        });
        joined.collect()
    })
}

fn not_sent(address: &Address, error: &ureq::Error) -> Refusal {
    use std::io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable,
    };
    let before = match error {
        ureq::Error::Io(e) => matches!(
            e.kind(),
            ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
        ),
        ureq::Error::Timeout(at) => {
            matches!(at, ureq::Timeout::Resolve | ureq::Timeout::Connect)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::BadUri(_) => true,
        _ => false,
    };
    let why = match error {
        ureq::Error::Io(e) if e.kind() == ConnectionRefused => "connection refused".to_owned(),
        other => clean(&other.to_string()),
    };
    if before {
        Refusal::Unreachable(format!("{address} ({why})"))
    } else {
        Refusal::Lost { address: address.clone(), why }
    }
}

fn answer(address: &Address, mut response: Response<ureq::Body>) -> Result<Value, Refusal> {
    let status = response.status();
    let body: Result<Value, _> = response.body_mut().read_json();
    let said = body.as_ref().ok().and_then(|body| body["error"].as_str()).map(clean);
    match (status, body, said) {
        (status, Ok(body), _) if status.is_success() => Ok(body),
        (StatusCode::UNAUTHORIZED, _, said) => Err(Refusal::Refused(format!(
            "{address} asks for a key: give its token with --token or OCELLI_TOKEN{}",
            in_brackets(said)
        ))),
        (StatusCode::FORBIDDEN, _, said) => Err(Refusal::Refused(format!(
            "{address} does not let this key do that: give the --token of one with the right \
             `admin`{}",
            in_brackets(said)
        ))),
        (StatusCode::NOT_FOUND, _, Some(said)) if said.starts_with("no such route") => {
            Err(Refusal::Refused(format!(
                "{address} is no admin API ({said}): name its address with --admin"
            )))
        }
        (StatusCode::NOT_FOUND, _, Some(said)) => Err(Refusal::Missing(missing(&said))),
        (_, _, Some(said)) => Err(Refusal::Refused(said)),
        (status, ..) => Err(Refusal::Refused(format!(
            "{address} answers, but not as an admin API does (status {}): name the address of the \
             admin API with --admin",
            status.as_u16()
        ))),
    }
}

fn in_brackets(said: Option<String>) -> String {
    said.map(|said| format!(" ({said})")).unwrap_or_default()
}

/// The data path's words for a model that is not there are TensorFlow Serving's.
fn missing(said: &str) -> String {
    let model = said.strip_prefix("Servable not found for request: Latest(");
    match model.and_then(|rest| rest.strip_suffix(')')) {
        Some(model) => format!("there is no model {model}; `ocelli models` lists those there are"),
        None => said.to_owned(),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
