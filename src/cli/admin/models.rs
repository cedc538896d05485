//! `ocelli models`: what is loaded.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::address::Address;
use super::client::{Call, Client, Refusal, of_model};
use super::connection::Connection;
use super::history::Traffic;
use super::table::{Cell, Table, bad, good, unsure};
use super::words::{clean, date_of, or_dash, percent};
use super::{Answers, Failure, code, print, print_all, print_json, read};

/// Of a digest: enough to tell two apart.
const DIGITS: usize = 12;

#[derive(clap::Args)]
pub struct ModelsArgs {
    /// A certain model
    model: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A server's models, and their traffic by name.
struct Loaded {
    models: Value,
    traffic: BTreeMap<String, Value>,
}

pub(super) fn run(args: &ModelsArgs) -> Result<u8, Failure> {
    let client = args.connection.client()?;
    let asked = args.model.as_deref();
    if args.connection.json {
        let path = asked.map_or("/admin/v1/models".to_owned(), |model| of_model(model, ""));
        let answers = client.each(|address| client.ask_at(address, &Call::get(&path)));
        if !client.replicas().is_empty() {
            print_all(&answers)?;
            return Ok(code(&answers));
        }
        for (_, answer) in answers {
            print_json(&answer?)?;
        }
        return Ok(0);
    }
    let answers = client.each(|address| ask(&client, address, asked));
    if client.replicas().is_empty() {
        let loaded = answers.into_iter().map(|(a, answer)| Ok((a, Ok(answer?))));
        let answers = loaded.collect::<Result<Answers<Loaded>, Refusal>>()?;
        print(&text(&answers, false)?)?;
        return Ok(0);
    }
    print(&text(&answers, true)?)?;
    Ok(code(&answers))
}

fn ask(client: &Client, address: &Address, model: Option<&str>) -> Result<Loaded, Refusal> {
    let models = match model {
        Some(model) => json!([client.ask_at(address, &Call::get(of_model(model, "")))?]),
        None => client.ask_at(address, &Call::get("/admin/v1/models"))?["models"].take(),
    };
    let mut traffic = BTreeMap::new();
    for name in models.as_array().into_iter().flatten().filter_map(|m| m["name"].as_str()) {
        match client.ask_at(address, &Call::get(of_model(name, "/traffic"))) {
            Ok(answer) => _ = traffic.insert(name.to_owned(), answer),
            // It went away between the two questions, or nothing of it can be served.
            Err(Refusal::Refused(_) | Refusal::Missing(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Loaded { models, traffic })
}

#[derive(Deserialize)]
struct Model {
    name: String,
    #[serde(default)]
    problem: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, u64>,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
    state: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    engine: Option<String>,
    #[serde(default)]
    precision: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    loaded_at_unix: Option<i64>,
}

fn text(answers: &Answers<Loaded>, many: bool) -> Result<String, Failure> {
    let heads =
        ["replica", "model", "version", "state", ">traffic", "engine", "digest", "loaded", "error"];
    let heads = &heads[usize::from(!many)..];
    let mut table = Table::new(heads.iter().copied());
    let mut unasked = String::new();
    for (address, answer) in answers {
        let replica = many.then(|| address.to_string());
        let cells = |cells: Vec<Cell>| replica.iter().map(Cell::from).chain(cells);
        match answer {
            Err(refusal) => unasked += &format!("{address} {}\n", refusal.beside(address)),
            Ok(loaded) => {
                for model in read::<Vec<Model>>(&loaded.models)? {
                    let traffic = loaded.traffic.get(&model.name);
                    let traffic = traffic.map(read::<Traffic>).transpose()?;
                    model.rows(traffic.as_ref()).into_iter().for_each(|row| table.row(cells(row)));
                }
            }
        }
    }
    let rows = match (table.is_empty(), unasked.is_empty()) {
        (true, true) => "there are no models\n".to_owned(),
        (true, false) => String::new(),
        (false, _) => table.text(),
    };
    Ok(rows + &unasked)
}

impl Version {
    /// The engine, and what it computes in if that isn't as usual.
    fn engine(&self) -> Option<String> {
        let engine = self.engine.as_deref()?;
        Some(match self.precision.as_deref() {
            None | Some("f32") => engine.to_owned(),
            Some(coarser) => format!("{engine} {coarser}"),
        })
    }
}

impl Model {
    fn rows(&self, traffic: Option<&Traffic>) -> Vec<Vec<Cell>> {
        let version = |v: &Version| {
            let share = traffic.map(|traffic| {
                let arm = traffic.split.iter().find(|arm| arm.version == v.version);
                arm.map_or(0, |arm| arm.weight)
            });
            let style = match (v.state.as_str(), &v.error) {
                ("AVAILABLE", _) => good(),
                (_, Some(_)) => bad(),
                _ => unsure(),
            };
            let digest = v.digest.as_deref().map(|digest| {
                let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
                hex.chars().take(DIGITS).collect::<String>()
            });
            vec![
                Cell::from(&self.name),
                self.named(v.version).into(),
                Cell::styled(&v.state, style),
                or_dash(share, |weight| percent(f64::from(weight) / 100.0)).into(),
                or_dash(v.engine(), |engine| clean(&engine)).into(),
                or_dash(digest, |digest| digest).into(),
                or_dash(v.loaded_at_unix, date_of).into(),
                Cell::styled(v.error.as_deref().unwrap_or_default(), bad()),
            ]
        };
        let mut rows: Vec<_> = self.versions.iter().map(version).collect();
        if let Some(problem) = &self.problem {
            let dash = || Cell::from("-");
            let mut row = vec![Cell::from(&self.name)];
            row.extend((0..6).map(|_| dash()));
            row.push(Cell::styled(problem, bad()));
            rows.push(row);
        }
        rows
    }

    /// A version with its labels.
    fn named(&self, version: u64) -> String {
        let labels = self.labels.iter().filter(|(_, v)| **v == version).map(|(l, _)| l.as_str());
        let labels: Vec<_> = labels.collect();
        match labels.is_empty() {
            true => version.to_string(),
            false => format!("{version} ({})", labels.join(", ")),
        }
    }
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
