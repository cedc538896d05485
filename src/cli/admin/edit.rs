//! What `traffic set` takes, and the change it asks for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Failure, signed};

/// A change of a model's traffic.
#[derive(clap::Args)]
pub struct SetArgs {
    /// The model
    pub model: String,
    /// VERSION=WEIGHT…, of which only the ratio counts; or `latest`
    #[arg(value_name = "VERSION=WEIGHT", value_parser = part)]
    weights: Vec<Part>,
    /// Keep a user with a version: header:NAME, cookie:NAME, query:NAME, client-cert or none
    #[arg(long, value_name = "KEY", value_parser = sticky)]
    sticky: Option<Sticky>,
    /// Makes the split independent of others by the same key [default: the model's name]
    #[arg(long)]
    salt: Option<String>,
    /// Send a version copies of so many percent of the requests, VERSION=PERCENT; or none
    #[arg(long, value_name = "VERSION=PERCENT", value_parser = shadow)]
    shadow: Vec<Option<Shadow>>,
    /// Send requests to a version, 'header:NAME=VALUE->VERSION' or cookie:…; or none
    #[arg(long = "match", value_name = "RULE", value_parser = rule)]
    matches: Vec<Option<Rule>>,
    /// Refuse the change if this revision was replaced meanwhile
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
    /// Why, for the history
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Latest,
    Arm(u64, f64),
}

#[derive(Clone, Debug, PartialEq)]
enum Sticky {
    None,
    By { by: &'static str, name: String },
}

#[derive(Clone, Debug, PartialEq)]
struct Shadow {
    version: u64,
    percent: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    by: &'static str,
    name: String,
    equals: String,
    version: u64,
}

impl SetArgs {
    /// Whether the change depends on what holds: a key and its salt are replaced together.
    pub fn wants_current(&self) -> bool {
        let key = matches!(self.sticky, Some(Sticky::By { .. }));
        (key || self.sticky.is_none()) && (key != self.salt.is_some())
    }

    /// What the server is asked for; `current` is the document that holds, if it is wanted.
    pub fn body(&self, current: Option<&Value>) -> Result<Value, Failure> {
        let mut body = signed(self.reason.as_deref());
        let signature = body.as_object().map_or(0, |body| body.len());
        if !self.weights.is_empty() {
            let (name, value) = weights(&self.weights)?;
            body[name] = value;
        }
        if let Some(sticky) = self.sticky(current)? {
            body["sticky"] = sticky;
        }
        if let Some(shadow) = list(&self.shadow, "--shadow", Shadow::json)? {
            body["shadow"] = shadow;
        }
        if let Some(rules) = list(&self.matches, "--match", Rule::json)? {
            body["match"] = rules;
        }
        if body.as_object().map_or(0, |body| body.len()) == signature {
            return Err("say what is to change: weights such as 1=90 2=10, `latest`, --sticky, \
                        --shadow or --match"
                .into());
        }
        let seen = current.map(|current| current["revision"].as_u64().unwrap_or(0));
        if let Some(revision) = self.if_revision.or(seen) {
            body["if_revision"] = json!(revision);
        }
        Ok(body)
    }

    fn sticky(&self, current: Option<&Value>) -> Result<Option<Value>, Failure> {
        let before = current.map(|current| &current["sticky"]).filter(|sticky| sticky.is_object());
        let mut sticky = match (&self.sticky, before) {
            (None, _) if self.salt.is_none() => return Ok(None),
            (Some(Sticky::None), _) if self.salt.is_none() => return Ok(Some(Value::Null)),
            (Some(Sticky::None), _) => return Err("--sticky none takes no --salt".into()),
            (None, None) => return Err("--salt: there is no key yet; give --sticky too".into()),
            (None, Some(before)) => before.clone(),
            (Some(Sticky::By { by, name }), before) => {
                let mut sticky = json!({ "by": by });
                if !name.is_empty() {
                    sticky["name"] = json!(name);
                }
                if let Some(salt) = before.map(|b| &b["salt"]).filter(|salt| salt.is_string()) {
                    sticky["salt"] = salt.clone();
                }
                sticky
            }
        };
        if let Some(salt) = &self.salt {
            sticky["salt"] = json!(salt);
        }
        Ok(Some(sticky))
    }
}

fn weights(parts: &[Part]) -> Result<(&'static str, Value), Failure> {
    let mut weights = BTreeMap::new();
    for part in parts {
        match part {
            Part::Latest if parts.len() == 1 => return Ok(("latest", json!(true))),
            Part::Latest => return Err("`latest` takes no weights beside it".into()),
            Part::Arm(version, weight) => {
                if weights.insert(*version, *weight).is_some() {
                    return Err(format!("version {version} is there twice").into());
                }
            }
        }
    }
    // The server takes whole numbers: their ratio is what counts.
    let whole = weights.values().all(|weight| weight.fract() == 0.0);
    let scale = if whole { 1.0 } else { 10_000.0 };
    let scaled = weights.into_iter().map(|(version, w)| (version, (w * scale).round() as u32));
    Ok(("weights", json!(scaled.collect::<BTreeMap<_, _>>())))
}

/// A list, none of it, or nothing said.
fn list<T>(
    given: &[Option<T>],
    flag: &str,
    json: impl Fn(&T) -> Value,
) -> Result<Option<Value>, Failure> {
    match given {
        [] => Ok(None),
        [None] => Ok(Some(json!([]))),
        given => {
            let all: Option<Vec<_>> = given.iter().map(|one| one.as_ref().map(&json)).collect();
            let all = all.ok_or_else(|| format!("{flag} none takes no other {flag} beside it"))?;
            Ok(Some(json!(all)))
        }
    }
}

impl Shadow {
    fn json(&self) -> Value {
        json!({ "version": self.version, "percent": self.percent })
    }
}

impl Rule {
    fn json(&self) -> Value {
        json!({ self.by: self.name, "equals": self.equals, "version": self.version })
    }
}

/// `1=90`, `2=0.5%` or `latest`.
fn part(text: &str) -> Result<Part, String> {
    if text == "latest" {
        return Ok(Part::Latest);
    }
    let part = versioned(text).filter(|(_, weight)| (0.0..=100_000.0).contains(weight));
    let part = part.map(|(version, weight)| Part::Arm(version, weight));
    part.ok_or_else(|| "write VERSION=WEIGHT, such as 1=90, or `latest`".to_owned())
}

fn shadow(text: &str) -> Result<Option<Shadow>, String> {
    if text == "none" {
        return Ok(None);
    }
    let shadow = versioned(text).filter(|(_, percent)| (0.0..=100.0).contains(percent));
    let shadow = shadow.map(|(version, percent)| Some(Shadow { version, percent }));
    shadow.ok_or_else(|| "write VERSION=PERCENT, such as 3=10, or `none`".to_owned())
}

fn versioned(text: &str) -> Option<(u64, f64)> {
    let (version, figure) = text.split_once('=')?;
    Some((version.parse().ok()?, figure.strip_suffix('%').unwrap_or(figure).parse().ok()?))
}

fn sticky(text: &str) -> Result<Sticky, String> {
    let (by, name) = text.split_once(':').map_or((text, ""), |(by, name)| (by, name));
    let by = match (by, name.is_empty()) {
        ("none", true) => return Ok(Sticky::None),
        ("client-cert", true) => "client-cert",
        ("header", false) => "header",
        ("cookie", false) => "cookie",
        ("query", false) => "query",
        _ => {
            return Err(
                "write header:NAME, cookie:NAME, query:NAME, client-cert or none".to_owned()
            );
        }
    };
    Ok(Sticky::By { by, name: name.to_owned() })
}

fn rule(text: &str) -> Result<Option<Rule>, String> {
    if text == "none" {
        return Ok(None);
    }
    let read = || {
        let (rest, version) = text.rsplit_once("->")?;
        let (by, rest) = rest.split_once(':')?;
        let (name, equals) = rest.split_once('=')?;
        let by = ["header", "cookie"].into_iter().find(|known| *known == by)?;
        let name = Some(name).filter(|name| !name.is_empty())?.to_owned();
        Some(Some(Rule { by, name, equals: equals.to_owned(), version: version.parse().ok()? }))
    };
    // An unquoted `>` is the shell's.
    read().ok_or_else(|| {
        "write 'header:NAME=VALUE->VERSION' or 'cookie:NAME=VALUE->VERSION', in quotes, or `none`"
            .to_owned()
    })
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
