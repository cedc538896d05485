//! The commands that speak to running servers, through their admin API.

mod address;
mod bandit;
mod client;
mod connection;
mod edit;
mod experiment;
mod fan;
mod health;
mod history;
mod models;
mod rollout;
mod source;
mod start;
mod status;
#[cfg(test)]
mod stub;
mod table;
mod traffic;
mod watch;
mod words;

use serde_json::{Value, json};

use self::address::Address;
use self::client::Refusal;
use super::{Failure, print};

/// A rollout that was watched went back, or was ended.
const WENT_BACK: u8 = 3;
/// Some replicas could not be asked or told; the rest is done.
const PARTLY: u8 = 4;

/// What is asked of running servers.
#[derive(clap::Subcommand)]
pub enum AdminCommand {
    /// Show or change where a model's requests go
    #[command(after_help = "Examples:
  ocelli traffic get NAME
  ocelli traffic set NAME 1=90 2=10 --sticky header:x-user
  ocelli traffic set NAME latest
  ocelli traffic set NAME --shadow 3=10 --match 'header:x-beta=yes->3'
  ocelli traffic rollback NAME --replicas dns:ocelli-admin:8502")]
    Traffic(traffic::TrafficArgs),
    /// Bring a version into service step by step, as long as its gates hold
    #[command(after_help = "Examples:
  ocelli rollout start NAME --to 7 --gate 'error_rate<=0.5%' --gate 'p99<=1.2x' --watch
  ocelli rollout status NAME
  ocelli rollout abort NAME --reason 'customers complain'")]
    Rollout(rollout::RolloutArgs),
    /// Compare the versions that share a model's traffic
    #[command(after_help = "Examples:
  ocelli experiment NAME
  ocelli experiment NAME --baseline 1 --metric accuracy --min-effect 0.02
  ocelli experiment NAME --bandit min=5%,max=95%,interval=1m,metric=accuracy
  ocelli experiment NAME --end-bandit")]
    Experiment(experiment::ExperimentArgs),
    /// Show what is loaded, and its share of the traffic
    #[command(after_help = "Examples:
  ocelli models
  ocelli models NAME --replicas 10.0.0.1:8502,10.0.0.2:8502")]
    Models(models::ModelsArgs),
    /// Show how servers fare, and what happened last
    #[command(after_help = "Examples:
  ocelli status
  ocelli status --replicas dns:ocelli-admin:8502 --events 20")]
    Status(status::StatusArgs),
    /// Tell by the exit code whether a server is ready, or lives: for a container's health check
    #[command(after_help = "Examples:
  ocelli health
  ocelli health --live
  ocelli health --replicas dns:ocelli-admin:8502")]
    Health(health::HealthArgs),
}

/// Runs a command. What it gives is the exit code.
pub(super) fn run(command: &AdminCommand) -> Result<u8, Failure> {
    match command {
        AdminCommand::Traffic(args) => traffic::run(args),
        AdminCommand::Rollout(args) => rollout::run(args),
        AdminCommand::Experiment(args) => experiment::run(args),
        AdminCommand::Models(args) => models::run(args),
        AdminCommand::Status(args) => status::run(args),
        AdminCommand::Health(args) => health::run(args),
    }
}

/// What each of several servers answered.
type Answers<T> = Vec<(Address, Result<T, Refusal>)>;

/// Who asks, for the history.
fn author() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "cli".to_owned())
}

/// What a change says of itself.
fn signed(reason: Option<&str>) -> Value {
    let mut body = json!({ "author": author() });
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    body
}

/// Reads an answer as what it should be.
fn read<T: serde::de::DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|e| {
        format!("can't read the server's answer ({e}): has it another version than this client?")
            .into()
    })
}

/// Prints an answer of one server as it is.
fn print_json(answer: &Value) -> Result<(), Failure> {
    print(&format!("{answer:#}\n"))
}

/// Prints the answers of several servers.
fn print_all(answers: &Answers<Value>) -> Result<(), Failure> {
    let one = |(address, answer): &(Address, Result<Value, Refusal>)| match answer {
        Ok(answer) => json!({ "replica": address.to_string(), "answer": answer }),
        Err(refusal) => json!({ "replica": address.to_string(), "error": refusal.beside(address) }),
    };
    print_json(&json!({ "replicas": answers.iter().map(one).collect::<Vec<_>>() }))
}

/// The exit code after several servers were asked.
fn code<T>(answers: &Answers<T>) -> u8 {
    if answers.iter().any(|(_, answer)| answer.is_err()) { PARTLY } else { 0 }
}
