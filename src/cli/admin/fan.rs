//! Tells all replicas of a change that was made at one, without waiting for the store to tell them.

use serde_json::{Value, json};
use ureq::http::Method;

use super::address::Address;
use super::client::{Call, Client, Refusal, in_parallel, of_model};
use super::table::{Cell, Table, bad, good};
use super::{Failure, PARTLY, print, print_json};

/// What came of it at a replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was changed here.
    Changed,
    /// It took it over.
    Adopted,
    /// It knew already.
    Known,
    /// It has other traffic by that number, or by a later one.
    Differs(u64),
    /// It could not be told.
    Untold(String),
}

/// What came of it at each.
#[derive(Debug)]
pub struct Fan(Vec<(Address, Told)>);

impl Client {
    /// Offers a document to all replicas but the one that made it.
    pub fn spread(&self, at: &Address, model: &str, document: &Value) -> Fan {
        if self.replicas().is_empty() {
            return Fan(Vec::new());
        }
        let others: Vec<_> = self.replicas().iter().filter(|a| *a != at).collect();
        let told = in_parallel(&others, |address| self.offer(address, model, document));
        let told = told.into_iter().map(|(address, told)| {
            let told = told.unwrap_or_else(|refusal| Told::Untold(refusal.beside(&address)));
            (address, told)
        });
        Fan(std::iter::once((at.clone(), Told::Changed)).chain(told).collect())
    }

    fn offer(&self, address: &Address, model: &str, document: &Value) -> Result<Told, Refusal> {
        let path = of_model(model, "/traffic/offer");
        let answer = self.ask_at(address, &Call::change(Method::POST, path, document.clone()))?;
        if answer["adopted"] == true {
            return Ok(Told::Adopted);
        }
        // It has that number, or a later one: by the same document, or by one of its own.
        let traffic = self.ask_at(address, &Call::get(of_model(model, "/traffic")))?;
        let history = traffic["history"].as_array();
        let known = history.is_some_and(|history| history.contains(document));
        let revision = answer["revision"].as_u64().unwrap_or_default();
        Ok(if known { Told::Known } else { Told::Differs(revision) })
    }
}

impl Told {
    fn cell(&self) -> Cell {
        match self {
            Told::Changed => Cell::styled("changed here", good()),
            Told::Adopted => Cell::styled("adopted", good()),
            Told::Known => Cell::styled("already there", good()),
            Told::Differs(revision) => Cell::styled(
                format!("keeps a revision {revision} of its own: do the replicas share a store?"),
                bad(),
            ),
            Told::Untold(why) => Cell::styled(why, bad()),
        }
    }

    fn json(&self) -> Value {
        match self {
            Told::Changed => json!({ "outcome": "changed" }),
            Told::Adopted => json!({ "outcome": "adopted" }),
            Told::Known => json!({ "outcome": "known" }),
            Told::Differs(revision) => json!({ "outcome": "differs", "revision": revision }),
            Told::Untold(why) => json!({ "outcome": "untold", "error": why }),
        }
    }

    fn is_fine(&self) -> bool {
        matches!(self, Told::Changed | Told::Adopted | Told::Known)
    }
}

impl Fan {
    /// Prints a change, as JSON or in `words`, and what came of it at each replica. Gives the exit code.
    pub fn print(&self, mut answer: Value, words: &str, json: bool) -> Result<u8, Failure> {
        if json {
            if !self.0.is_empty() {
                answer["replicas"] = self.json();
            }
            print_json(&answer)?;
        } else {
            print(&format!("{words}{}", self.text()))?;
        }
        Ok(self.code())
    }

    /// A line of JSON; nothing if no replicas were named.
    pub fn json_line(&self) -> String {
        let told = || format!("{}\n", json!({ "replicas": self.json() }));
        if self.0.is_empty() { String::new() } else { told() }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        if self.0.iter().all(|(_, told)| told.is_fine()) { 0 } else { PARTLY }
    }

    fn json(&self) -> Value {
        let one = |(address, told): &(Address, Told)| {
            let mut row = told.json();
            row["replica"] = json!(address.to_string());
            row
        };
        self.0.iter().map(one).collect()
    }

    /// A table; nothing if no replicas were named.
    pub fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut table = Table::new(["replica", "outcome"]);
        for (address, told) in &self.0 {
            table.row([address.to_string().into(), told.cell()]);
        }
        let untold = self.0.iter().filter(|(_, told)| !told.is_fine()).count();
        let all = self.0.len();
        let rest = match untold {
            0 => String::new(),
            _ => format!(
                "{untold} of {all} replicas could not be told. The change stands; those that share its \
                 store will find it there.\n"
            ),
        };
        format!("\n{}{rest}", table.text())
    }
}

#[cfg(test)]
#[path = "fan_tests.rs"]
mod tests;
