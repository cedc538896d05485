//! `ocelli engines`: which engines are here, where, and what they can do on this machine.

use std::fmt::Write as _;

use serde_json::json;

use super::{Failure, print};
use crate::config::EngineArgs;
use crate::engine::{About, Cpu, Found, Precision};

#[derive(clap::Args)]
pub struct EnginesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engines: EngineArgs,
}

pub(super) fn run(args: &EnginesArgs) -> Result<(), Failure> {
    let engines = args.engines.engines();
    let listed = engines.all().iter().filter(|e| e.competes());
    let abouts: Vec<_> = listed.map(|engine| (engine.name(), engine.about())).collect();
    let cpu = Cpu::read();
    if args.json { as_json(&cpu, &abouts) } else { as_text(&cpu, &abouts) }
}

fn place(found: &Found) -> String {
    match found {
        Found::Embedded => "embedded".to_owned(),
        Found::At(path) => path.display().to_string(),
        Found::Missing(why) => format!("not available: {why}"),
    }
}

fn precisions(about: &About) -> Vec<&'static str> {
    about.precisions.iter().copied().map(Precision::name).collect()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn as_text(cpu: &Cpu, abouts: &[(&str, About)]) -> Result<(), Failure> {
    let head = ["ENGINE", "VERSION", "PRECISIONS", "DEVICES", "WHERE"].map(str::to_owned);
    let rows = abouts.iter().map(|(name, about)| {
        [
            (*name).to_owned(),
            or_dash(about.version.clone().unwrap_or_default()),
            or_dash(precisions(about).join(", ")),
            or_dash(about.devices.join(", ")),
            place(&about.found),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..4).map(width).collect();
    let bold = anstyle::Style::new().bold();
    let mut out = format!("cpu  {}\n", or_dash(cpu.model.clone()));
    // Writing to a String can't fail.
    let _ = writeln!(out, "can  {}\n", or_dash(cpu.features.join(", ")));
    for (i, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        line += &row[4];
        let _ = match i {
            0 => writeln!(out, "{bold}{line}{bold:#}"),
            _ => writeln!(out, "{line}"),
        };
    }
    print(&out)
}

fn as_json(cpu: &Cpu, abouts: &[(&str, About)]) -> Result<(), Failure> {
    let one = |(name, about): &(&str, About)| {
        json!({
            "name": name,
            "available": !matches!(about.found, Found::Missing(_)),
            "where": place(&about.found),
            "version": about.version,
            "precisions": precisions(about),
            "devices": about.devices,
        })
    };
    let told = json!({
        "cpu": { "model": cpu.model, "features": cpu.features },
        "engines": abouts.iter().map(one).collect::<Vec<_>>(),
    });
    print(&format!("{told:#}\n"))
}
