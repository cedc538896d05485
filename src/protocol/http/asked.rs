//! What the router may ask of a request, whatever door it came through.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};

use crate::protocol::listen::ClientCert;
use crate::router::{Asked, Attribute};

/// How a request came.
pub struct Arrival<'a> {
    /// What is called, such as `predict`.
    pub call: &'static str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// When.
    pub at: Instant,
    query: Option<&'a str>,
    extensions: &'a Extensions,
}

impl<'a> Arrival<'a> {
    /// A `call` that came at a time.
    pub fn new(call: &'static str, parts: &'a Parts, at: Instant) -> Arrival<'a> {
        let (headers, extensions) = (&parts.headers, &parts.extensions);
        Arrival { call, headers, at, query: parts.uri.query(), extensions }
    }
}

impl Asked for Arrival<'_> {
    fn value(&self, of: &Attribute) -> Option<Cow<'_, str>> {
        match of {
            Attribute::Header(name) => self.headers.get(name)?.to_str().ok().map(Cow::Borrowed),
            Attribute::Cookie(name) => cookie(self.headers, name).map(Cow::Borrowed),
            Attribute::Query(name) => {
                let pairs = form_urlencoded::parse(self.query?.as_bytes());
                pairs.into_iter().find(|(key, _)| key == name.as_str()).map(|(_, value)| value)
            }
            Attribute::ClientCert => {
                let cert = self.extensions.get::<ClientCert>()?;
                (!cert.0.is_empty()).then(|| Cow::Borrowed(&*cert.0))
            }
        }
    }

    /// Without a lock: a keyed hash of a counter, one a thread.
    fn chance(&self) -> u64 {
        thread_local! {
            static SEED: RandomState = RandomState::new();
            static COUNT: Cell<u64> = const { Cell::new(0) };
        }
        let count = COUNT.with(|c| c.replace(c.get().wrapping_add(1)));
        SEED.with(|seed| seed.hash_one(count))
    }
}

/// RFC 6265, section 5.4: `name=value` pairs between semicolons.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn finds_what_may_decide_the_version() {
        let (mut parts, ()) = Request::get("/v1/models/m:predict?user=a%20b&x=1")
            .header("X-User", "ada")
            .header("Cookie", "theme=dark; user=\"grace\"")
            .header("Cookie", "late=yes")
            .body(())
            .unwrap()
            .into_parts();
        parts.extensions.insert(ClientCert("CN=edge-7".into()));
        let arrival = Arrival::new("predict", &parts, Instant::now());
        let value = |of| arrival.value(&of).map(Cow::into_owned);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(value(Attribute::Header("x-user".into())), some("ada"));
        assert_eq!(value(Attribute::Cookie("user".into())), some("grace"));
        assert_eq!(value(Attribute::Cookie("late".into())), some("yes"));
        assert_eq!(value(Attribute::Query("user".into())), some("a b"));
        assert_eq!(value(Attribute::ClientCert), some("CN=edge-7"));
        assert_eq!(value(Attribute::Cookie("use".into())), None);
        assert_ne!(arrival.chance(), arrival.chance());
    }
}
