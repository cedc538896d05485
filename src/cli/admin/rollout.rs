//! `ocelli rollout`: a version comes into service step by step.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;
use ureq::http::Method;

use super::client::{Call, of_model};
use super::connection::Connection;
use super::start::StartArgs;
use super::table::{Cell, Table, bad, good, unsure};
use super::watch::watch;
use super::words::{clean, millis, number, or_dash, percent, span};
use super::{Failure, print, print_json, read, signed};

#[derive(clap::Args)]
pub struct RolloutArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(clap::Subcommand)]
enum RolloutCommand {
    /// Start one: the candidate's share grows as long as all gates hold
    #[command(after_help = "Examples:
  ocelli rollout start NAME --to 7 --gate 'error_rate<=0.5%' --gate 'p99<=1.2x' --watch
  ocelli rollout start NAME --to 7 --steps 1,10,100 --interval 10m --gate 'accuracy>=-0.5pp'
  ocelli rollout start NAME --file rollout.toml

Gates: error_rate<=0.5%, error_rate<=1.5x, p99<=1.2x, p99.9<=30ms, accuracy>=-0.5pp,
agreement>=97%, reward>=-0.1. They are quoted because < and > are the shell's.
With --watch the exit code is 0 when it is done, and 3 when it went back or was ended.")]
    Start(Box<StartArgs>),
    /// Show how one stands
    #[command(after_help = "Examples:
  ocelli rollout status NAME
  ocelli rollout status NAME --watch

With --watch the exit code is 0 when it is done, and 3 when it went back or was ended.")]
    Status {
        /// The model
        model: String,
        /// Watch it until it ends; ending the watching does not end it
        #[arg(long)]
        watch: bool,
    },
    /// Stay at this step
    Pause(Steer),
    /// Go on
    Resume(Steer),
    /// End it: the baseline has everything
    Abort(Steer),
    /// Take the next step now, whatever its gates say
    Promote(Steer),
}

#[derive(clap::Args)]
struct Steer {
    /// The model
    model: String,
    /// Why, for the history
    #[arg(long)]
    reason: Option<String>,
}

pub(super) fn run(args: &RolloutArgs) -> Result<u8, Failure> {
    let json = args.connection.json;
    let client = args.connection.client()?;
    let (model, call, watched) = match &args.command {
        RolloutCommand::Status { model, watch: false } => {
            let (_, answer) = client.ask(&Call::get(of_model(model, "/rollout")))?;
            if json {
                print_json(&answer)?;
            } else {
                print(&read::<Rollout>(&answer)?.text())?;
            }
            return Ok(0);
        }
        RolloutCommand::Status { model, watch: true } => return watch(&client, model, None, json),
        RolloutCommand::Start(start) => {
            let path = of_model(&start.model, "/rollout");
            (&start.model, Call::change(Method::POST, path, start.body()?), start.watch)
        }
        RolloutCommand::Pause(steer) => steer.call("pause"),
        RolloutCommand::Resume(steer) => steer.call("resume"),
        RolloutCommand::Abort(steer) => steer.call("abort"),
        RolloutCommand::Promote(steer) => steer.call("promote"),
    };
    let (at, answer) = client.ask(&call)?;
    let rollout: Rollout = read(&answer)?;
    let fan = if client.replicas().is_empty() {
        client.spread(&at, model, &Value::Null)
    } else {
        // The others are told the document in which the rollout lies.
        let traffic = client.ask_at(&at, &Call::get(of_model(model, "/traffic")))?;
        client.spread(&at, model, &traffic["current"])
    };
    if !watched {
        return fan.print(answer, &rollout.text(), json);
    }
    print(&if json { fan.json_line() } else { fan.text().trim_start().to_owned() })?;
    let ended = watch(&client.prefer(&at), model, Some(rollout.id), json)?;
    Ok(if ended == 0 { fan.code() } else { ended })
}

impl Steer {
    fn call(&self, verb: &str) -> (&String, Call, bool) {
        let path = of_model(&self.model, &format!("/rollout/{verb}"));
        (&self.model, Call::change(Method::POST, path, signed(self.reason.as_deref())), false)
    }
}

/// A rollout and how it stands.
#[derive(Deserialize)]
pub struct Rollout {
    model: String,
    /// Tells it from others.
    pub id: String,
    from: u64,
    to: u64,
    steps: Vec<f64>,
    step: usize,
    /// Whether it goes on.
    pub state: String,
    interval: String,
    timeout: String,
    gates: Vec<Gate>,
    in_step_seconds: f64,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Gate {
    gate: String,
    state: String,
    candidate: Option<f64>,
    baseline: Option<f64>,
    samples: u64,
    detail: String,
}

impl Rollout {
    /// The ladder of steps, and the gates.
    pub fn text(&self) -> String {
        let style = match self.state.as_str() {
            "done" => good(),
            "rolled_back" | "aborted" => bad(),
            _ => unsure(),
        };
        let state = clean(&self.state).replace('_', " ");
        let (model, to, from) = (clean(&self.model), self.to, self.from);
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = writeln!(out, "rollout of {model}: version {to} over {from}");
        let _ = writeln!(out, "steps  {}", self.ladder());
        let _ = write!(out, "state  {style}{state}{style:#}");
        if self.is_open() {
            let (interval, timeout) = (clean(&self.interval), clean(&self.timeout));
            let gone = span(self.in_step_seconds);
            let _ = write!(out, " for {gone}; a step takes {interval} to {timeout}");
        }
        let _ = writeln!(out, "\nwhy    {}", clean(&self.reason));
        if !self.gates.is_empty() {
            let _ = write!(out, "\n{}", self.table());
        }
        out
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        ["preparing", "running", "paused"].contains(&self.state.as_str())
    }

    /// What tells one moment worth telling from another.
    pub fn moment(&self) -> String {
        let gates: Vec<_> = self.gates.iter().map(|gate| gate.state.as_str()).collect();
        format!("{} {} {} {}", self.state, self.step, self.reason, gates.join(" "))
    }

    /// The steps; the one in brackets holds, or was the last that did.
    fn ladder(&self) -> String {
        let one = |(at, step): (usize, &f64)| match at == self.step && self.state != "preparing" {
            true => format!("[{}]", percent(*step)),
            false => percent(*step),
        };
        self.steps.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
    }

    fn table(&self) -> String {
        let mut table =
            Table::new(["gate", "state", ">candidate", ">baseline", ">samples", "detail"]);
        for gate in &self.gates {
            let style = match gate.state.as_str() {
                "ok" => good(),
                "breached" => bad(),
                _ => unsure(),
            };
            table.row([
                Cell::from(&gate.gate),
                Cell::styled(&gate.state, style),
                gate.figure(gate.candidate).into(),
                gate.figure(gate.baseline).into(),
                gate.samples.to_string().into(),
                Cell::from(&gate.detail),
            ]);
        }
        table.text()
    }
}

impl Gate {
    /// A figure in the gate's unit.
    fn figure(&self, figure: Option<f64>) -> String {
        or_dash(figure, |figure| match self.gate.as_str() {
            gate if gate.starts_with("reward") => number(figure, 4),
            gate if gate.starts_with('p') => millis(figure * 1e3),
            _ => percent(figure * 100.0),
        })
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
