//! `ocelli status`: how servers fare, and what happened last.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::client::Call;
use super::connection::Connection;
use super::source::{self, Source};
use super::table::{Cell, Table, bad, good};
use super::words::{date, span};
use super::{Answers, Failure, code, print, print_all, print_json, read};

#[derive(clap::Args)]
pub struct StatusArgs {
    /// Events that are shown
    #[arg(long, value_name = "N", default_value_t = 5)]
    events: usize,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let client = args.connection.client()?;
    let events = Call::get(format!("/admin/v1/events?limit={}", args.events));
    let mut answers = client.each(|address| {
        let mut status = client.ask_at(address, &Call::get("/admin/v1/status"))?;
        status["events"] = client.ask_at(address, &events)?["events"].take();
        Ok(status)
    });
    let many = !client.replicas().is_empty();
    match (args.connection.json, many, answers.pop()) {
        (true, false, Some((_, answer))) => print_json(&answer?)?,
        (_, false, Some((_, Err(refusal)))) => return Err(refusal.into()),
        (json, _, last) => {
            answers.extend(last);
            let told =
                if json { print_all(&answers) } else { print(&text(&answers, args.events)?) };
            told?;
        }
    }
    Ok(code(&answers))
}

#[derive(Deserialize)]
struct Status {
    version: String,
    replica: String,
    uptime_seconds: f64,
    ready: bool,
    store: Store,
    #[serde(default)]
    source: Option<Source>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Store {
    kind: String,
    place: String,
    ok: bool,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Clone, Deserialize, PartialEq, Eq, Hash)]
struct Event {
    at: String,
    model: String,
    kind: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    revision: Option<u64>,
    message: String,
}

fn text(answers: &Answers<Value>, limit: usize) -> Result<String, Failure> {
    let mut table = Table::new(["address", "replica", "version", "ready", "up", "store"]);
    let (mut events, mut sources) = (Vec::new(), Vec::new());
    for (address, answer) in answers {
        let cell = Cell::from(address.to_string());
        match answer {
            Ok(answer) => {
                let status: Status = read(answer)?;
                let cells = status.cells();
                table.row(std::iter::once(cell).chain(cells));
                events.extend(status.events);
                sources.extend(status.source.map(|source| (status.replica, source)));
            }
            Err(refusal) => {
                table.row([cell, Cell::styled(refusal.beside(address), bad())]);
            }
        }
    }
    let events = last(events, limit);
    let events = if events.is_empty() { String::new() } else { format!("\n{}", told(&events)) };
    Ok(table.text() + &source::table(&sources) + &events)
}

impl Status {
    fn cells(&self) -> [Cell; 5] {
        let ready = if self.ready { ("yes", good()) } else { ("no", bad()) };
        let Store { kind, place, ok, error } = &self.store;
        let (words, style) = match (ok, error) {
            (true, _) => ("ok".to_owned(), good()),
            (false, why) => (why.clone().unwrap_or_else(|| "not ok".to_owned()), bad()),
        };
        [
            Cell::from(&self.replica),
            Cell::from(&self.version),
            Cell::styled(ready.0, ready.1),
            span(self.uptime_seconds).into(),
            Cell::styled(format!("{kind} {place}: {words}"), style),
        ]
    }
}

/// The last events of all replicas, the newest first. One that several tell of is told once.
fn last(mut events: Vec<Event>, limit: usize) -> Vec<Event> {
    let at = |event: &Event| event.at.parse::<jiff::Timestamp>().ok();
    events.sort_by_key(|event| std::cmp::Reverse(at(event)));
    let mut seen = HashSet::new();
    events.retain(|event| seen.insert(event.clone()));
    events.truncate(limit);
    events
}

fn told(events: &[Event]) -> String {
    let mut table = Table::new(["when", "model", ">revision", "what", "by", "message"]);
    for event in events {
        let revision = event.revision.map(|revision| revision.to_string());
        table.row([
            date(&event.at).into(),
            Cell::from(&event.model),
            revision.unwrap_or_default().into(),
            event.kind.replace('_', " ").into(),
            Cell::from(&event.author),
            Cell::from(&event.message),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::address::Address;
    use super::super::client::Refusal;
    use super::super::table::plain;
    use super::*;

    fn status(replica: &str, ok: bool, events: &[(&str, u64)]) -> Value {
        let events = events.iter().map(|(at, revision)| {
            json!({"at": at, "model": "m", "kind": "automatic_rollback", "author": "ada",
                   "revision": revision, "message": "because"})
        });
        json!({
            "name": "ocelli", "version": "0.1.0", "replica": replica, "uptime_seconds": 125.0,
            "ready": ok, "snapshot_revision": 7,
            "store": {"kind": "file", "place": "/m", "ok": ok,
                      "error": if ok { None } else { Some("no such directory") }},
            "events": events.collect::<Vec<_>>()
        })
    }

    #[test]
    fn a_row_is_a_replica_and_an_event_is_told_once() {
        let address = |text| Address::parse(text, false).unwrap();
        let (old, new) = (("2026-11-25T00:00:00Z", 1), ("2026-11-25T01:00:00.5Z", 2));
        let answers = vec![
            (address("a:1"), Ok(status("host-a-1", true, &[old]))),
            (address("b:1"), Ok(status("host-b-1", false, &[new, old]))),
            (address("c:1"), Err(Refusal::Unreachable("c:1 (connection refused)".to_owned()))),
        ];
        assert_eq!(
            plain(&text(&answers, 5).unwrap()),
            "address  replica                                version  ready  up     store\n\
             a:1      host-a-1                               0.1.0    yes    2m 5s  file /m: ok\n\
             b:1      host-b-1                               0.1.0    no     2m 5s  file /m: no such \
             directory\n\
             c:1      can't be reached (connection refused)\n\
             \n\
             when                  model  revision  what                by   message\n\
             2026-11-25 01:00:00Z  m             2  automatic rollback  ada  because\n\
             2026-11-25 00:00:00Z  m             1  automatic rollback  ada  because\n"
        );
        let one = text(&answers, 1).unwrap();
        assert!(!one.contains("00:00:00Z  m             1"), "{one}");
        assert_eq!(code(&answers), super::super::PARTLY);
    }
}
