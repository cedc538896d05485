//! `ocelli traffic`: the admin API for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use ureq::middleware::MiddlewareNext;

use super::{Failure, print};

#[derive(clap::Args)]
pub struct TrafficArgs {
    /// Address of the server's admin API
    #[arg(long, env = "OCELLI_ADMIN", default_value = "http://127.0.0.1:8502", global = true)]
    admin: String,
    /// Token of a key with the right `admin`, if the server asks for keys
    #[arg(long, env = "OCELLI_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TrafficCommand,
}

#[derive(clap::Subcommand)]
enum TrafficCommand {
    /// Show a model's traffic and its history
    Get {
        /// The model
        model: String,
    },
    /// Set weights by version, such as `1=90 2=10`, or `latest`
    Set {
        /// The model
        model: String,
        /// VERSION=WEIGHT…, or `latest`
        #[arg(required = true)]
        weights: Vec<String>,
        /// Why, for the history
        #[arg(long)]
        reason: Option<String>,
    },
    /// Bring the table before the one in force back, at once
    Rollback {
        /// The model
        model: String,
    },
}

pub(super) fn run(args: &TrafficArgs) -> Result<(), Failure> {
    let base = format!("{}/admin/v1/models", args.admin.trim_end_matches('/'));
    let agent = agent(args.token.as_deref())?;
    let answer = match &args.command {
        TrafficCommand::Get { model } => {
            call(agent.get(format!("{base}/{model}/traffic")).call(), &args.admin)?
        }
        TrafficCommand::Set { model, weights, reason } => {
            let mut body = wanted(weights)?;
            body["author"] = json!(std::env::var("USER").unwrap_or_else(|_| "cli".to_owned()));
            if let Some(reason) = reason {
                body["reason"] = json!(reason);
            }
            call(agent.put(format!("{base}/{model}/traffic")).send_json(body), &args.admin)?
        }
        TrafficCommand::Rollback { model } => {
            let url = format!("{base}/{model}/traffic/rollback");
            call(agent.post(url).send_empty(), &args.admin)?
        }
    };
    if args.json { print(&format!("{answer:#}\n")) } else { print(&table(&answer)) }
}

/// What asks, with the token on every request.
fn agent(token: Option<&str>) -> Result<ureq::Agent, Failure> {
    let bearer = token.filter(|token| !token.is_empty()).map(|token| {
        ureq::http::HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "the token has characters that no header can carry")
    });
    let bearer = bearer.transpose()?;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(std::time::Duration::from_secs(10)))
        .middleware(
            move |mut request: ureq::http::Request<ureq::SendBody>, next: MiddlewareNext| {
                if let Some(bearer) = &bearer {
                    request.headers_mut().insert("authorization", bearer.clone());
                }
                next.handle(request)
            },
        );
    Ok(config.build().into())
}

fn call(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    admin: &str,
) -> Result<Value, Failure> {
    let mut response = response.map_err(|e| {
        format!("can't reach {admin} ({e}); is the server running? name its address with --admin")
    })?;
    let status = response.status();
    let body: Value = response.body_mut().read_json().map_err(|e| format!("{admin}: {e}"))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(body["error"].as_str().unwrap_or(status.as_str()).to_owned().into())
}

fn wanted(weights: &[String]) -> Result<Value, Failure> {
    if weights == ["latest"] {
        return Ok(json!({ "latest": true }));
    }
    let one = |w: &String| -> Option<(u64, u32)> {
        let (version, weight) = w.split_once('=')?;
        Some((version.parse().ok()?, weight.parse().ok()?))
    };
    let parsed: Option<BTreeMap<u64, u32>> = weights.iter().map(one).collect();
    match parsed {
        Some(weights) => Ok(json!({ "weights": weights })),
        None => {
            Err(format!("`{}`: write VERSION=WEIGHT, such as 1=90 2=10", weights.join(" ")).into())
        }
    }
}

fn table(answer: &Value) -> String {
    let current = &answer["current"];
    let rows = answer["history"].as_array().cloned().unwrap_or_else(|| vec![current.clone()]);
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(out, "{:>8}  {:<24} {:<14} why", "revision", "traffic", "by");
    for row in rows.iter().rev() {
        let total: u64 = weights(row).map(|(_, w)| w).sum();
        let share =
            |(v, w): (String, u64)| format!("{v}: {:.4}%", 100.0 * w as f64 / total.max(1) as f64);
        let shares: Vec<_> = weights(row).map(share).collect();
        let mark = if row["revision"] == current["revision"] { "*" } else { " " };
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let revision = row["revision"].to_string();
        let shares = shares.join(", ").replace(".0000%", "%");
        let _ = writeln!(
            out,
            "{mark}{revision:>7}  {shares:<24} {:<14} {}",
            text("author"),
            text("reason")
        );
    }
    out
}

fn weights(row: &Value) -> impl Iterator<Item = (String, u64)> {
    let weights = row["weights"].as_object().cloned().unwrap_or_default();
    weights.into_iter().map(|(v, w)| (v, w.as_u64().unwrap_or_default()))
}
