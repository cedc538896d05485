//! `ocelli traffic`: where a model's requests go.

use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Call, of_model};
use super::connection::Connection;
use super::edit::SetArgs;
use super::history::{Changed, Traffic};
use super::{Failure, print, print_json, read, signed};

#[derive(clap::Args)]
pub struct TrafficArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: TrafficCommand,
}

#[derive(clap::Subcommand)]
enum TrafficCommand {
    /// Show a model's traffic, its history, and what going back would do
    Get {
        /// The model
        model: String,
    },
    /// Change a model's traffic; what is not said stays as it is
    #[command(after_help = "Examples:
  ocelli traffic set NAME 1=90 2=10                  a canary
  ocelli traffic set NAME 1=50 2=50 --sticky cookie:session --reason 'experiment 12'
  ocelli traffic set NAME --shadow 3=10              copies for version 3, nobody sees its answers
  ocelli traffic set NAME --match 'header:x-beta=yes->3'
  ocelli traffic set NAME latest --shadow none --match none --sticky none")]
    Set(Box<SetArgs>),
    /// Bring back what held before, at once where its versions are still loaded
    #[command(after_help = "Examples:
  ocelli traffic rollback NAME
  ocelli traffic rollback NAME --to 4 --reason 'revision 5 was a mistake'")]
    Rollback {
        /// The model
        model: String,
        /// A certain revision, rather than what held before
        #[arg(long, value_name = "REVISION")]
        to: Option<u64>,
        /// Why, for the history
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(super) fn run(args: &TrafficArgs) -> Result<u8, Failure> {
    let client = args.connection.client()?;
    let json = args.connection.json;
    let (model, call) = match &args.command {
        TrafficCommand::Get { model } => {
            let (_, answer) = client.ask(&Call::get(of_model(model, "/traffic")))?;
            if json {
                print_json(&answer)?;
            } else {
                print(&read::<Traffic>(&answer)?.text())?;
            }
            return Ok(0);
        }
        TrafficCommand::Set(set) => {
            let path = of_model(&set.model, "/traffic");
            let mut current = None;
            if set.wants_current() {
                let (_, mut answer) = client.ask(&Call::get(&path))?;
                current = Some(answer["current"].take());
            }
            let body = set.body(current.as_ref())?;
            (&set.model, Call::change(Method::PUT, path, body))
        }
        TrafficCommand::Rollback { model, to, reason } => {
            let mut body = signed(reason.as_deref());
            if let Some(to) = to {
                body["to"] = json!(to);
            }
            (model, Call::change(Method::POST, of_model(model, "/traffic/rollback"), body))
        }
    };
    let (at, answer): (_, Value) = client.ask(&call)?;
    let words = read::<Changed>(&answer)?.text();
    client.spread(&at, model, &answer["current"]).print(answer, &words, json)
}
