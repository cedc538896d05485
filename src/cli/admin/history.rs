//! A model's traffic as people read it: what holds, what held before, and what going back would do.

use std::fmt::Write as _;

use serde::Deserialize;

use super::table::{Cell, Table, good};
use super::words::{Arm, clean, date, or_dash, percent, split};

/// A model's traffic and its history.
#[derive(Deserialize)]
pub struct Traffic {
    model: String,
    #[serde(default)]
    latest: bool,
    #[serde(default)]
    current: Option<Document>,
    /// What is served by now.
    #[serde(default)]
    pub split: Vec<Arm>,
    #[serde(default)]
    history: Vec<Document>,
    #[serde(default)]
    rollback: Vec<Back>,
}

/// What a change brought.
#[derive(Deserialize)]
pub struct Changed {
    model: String,
    current: Document,
    #[serde(default)]
    split: Option<Vec<Arm>>,
}

#[derive(Deserialize)]
struct Document {
    revision: u64,
    #[serde(default)]
    author: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    restores: Option<u64>,
    #[serde(default)]
    arms: Vec<Arm>,
    #[serde(default)]
    sticky: Option<Sticky>,
    #[serde(default)]
    shadow: Vec<Shadow>,
    #[serde(default, rename = "match")]
    matches: Vec<Match>,
    #[serde(default)]
    rollout: Option<Rollout>,
    #[serde(default)]
    bandit: Option<Bandit>,
}

#[derive(Deserialize)]
struct Sticky {
    by: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    salt: String,
}

#[derive(Deserialize)]
struct Shadow {
    version: u64,
    percent: f64,
}

#[derive(Deserialize)]
struct Match {
    #[serde(default)]
    header: Option<String>,
    #[serde(default)]
    cookie: Option<String>,
    equals: String,
    version: u64,
}

#[derive(Deserialize)]
struct Rollout {
    from: u64,
    to: u64,
    state: String,
}

#[derive(Deserialize)]
struct Bandit {
    min: u32,
    max: u32,
    interval: String,
    #[serde(default)]
    metric: String,
}

#[derive(Deserialize)]
struct Back {
    #[serde(default)]
    revision: Option<u64>,
    instant: bool,
    #[serde(default)]
    missing: Vec<u64>,
}

impl Traffic {
    /// The table of revisions, the newest first, and what else there is to know.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = match &self.current {
            Some(_) => write!(out, "{}", self.table()),
            None => {
                let what = if self.latest { "the latest version" } else { "its model.toml" };
                writeln!(out, "{} follows {what}: nobody changed that yet", clean(&self.model))
            }
        };
        out.push('\n');
        let in_force =
            if self.split.is_empty() { "nothing".to_owned() } else { split(&self.split) };
        line(&mut out, "in force", &in_force);
        if let Some(current) = &self.current {
            current.rest(&mut out, &self.model);
        }
        self.backs(&mut out);
        out
    }

    fn table(&self) -> String {
        let mut table = Table::new(["", ">revision", "split", "by", "when", "why"]);
        let current = self.current.as_ref().map(|d| d.revision);
        for row in self.history.iter().rev() {
            let mark = if Some(row.revision) == current { "*" } else { "" };
            let restores = row.restores.map(|revision| format!("(back to {revision}) "));
            table.row([
                Cell::styled(mark, good()),
                row.revision.to_string().into(),
                split(&row.arms).into(),
                Cell::from(&row.author),
                date(&row.created).into(),
                format!("{}{}", restores.unwrap_or_default(), row.reason).into(),
            ]);
        }
        table.text()
    }

    /// Where the nearest rollback leads, and which of the others would have to load something.
    fn backs(&self, out: &mut String) {
        let Some(nearest) = self.rollback.first() else {
            return line(out, "rollback", "there is nothing earlier to go back to");
        };
        let to = or_dash(nearest.revision, |revision| format!("to revision {revision}"));
        let to =
            if nearest.revision.is_none() { "to what was served before".to_owned() } else { to };
        line(out, "rollback", &format!("{to}, {}", nearest.how()));
        for other in self.rollback.iter().skip(1).filter(|back| !back.instant) {
            if let Some(revision) = other.revision {
                line(out, "", &format!("--to {revision}, {}", other.how()));
            }
        }
    }
}

impl Back {
    fn how(&self) -> String {
        let missing: Vec<_> = self.missing.iter().map(u64::to_string).collect();
        match (self.instant, missing.len()) {
            (true, _) => "at once".to_owned(),
            (false, 1) => format!("once version {} is loaded", missing.join("")),
            (false, _) => format!("once versions {} are loaded", missing.join(", ")),
        }
    }
}

impl Changed {
    /// What holds now.
    pub fn text(&self) -> String {
        let Changed { model, current, split: now } = self;
        let mut out = format!("traffic of {}: {}", clean(model), split(&current.arms));
        let back = current.restores.map(|r| format!(", back to {r}")).unwrap_or_default();
        // Writing to a String can't fail.
        let _ = writeln!(out, " (revision {}{back})", current.revision);
        current.rest(&mut out, model);
        let weighed = |arms: &[Arm]| {
            let some = arms.iter().filter(|a| a.weight > 0);
            some.map(|a| (a.version, a.weight)).collect::<std::collections::BTreeMap<_, _>>()
        };
        if let Some(now) = now.as_ref().filter(|_| !current.arms.is_empty())
            && weighed(now) != weighed(&current.arms)
        {
            let now = if now.is_empty() { "nothing".to_owned() } else { split(now) };
            line(&mut out, "so far", &format!("{now}, until its versions are loaded"));
        }
        out
    }
}

impl Document {
    /// What it says besides shares.
    fn rest(&self, out: &mut String, model: &str) {
        if let Some(sticky) = &self.sticky {
            let salt = if sticky.salt.is_empty() { model } else { &sticky.salt };
            let name = if sticky.name.is_empty() { "" } else { ":" };
            let key = format!("{}{name}{}", sticky.by, sticky.name);
            line(out, "sticky", &format!("{key}, salt {salt}"));
        }
        for shadow in &self.shadow {
            let share = percent(shadow.percent);
            line(out, "shadow", &format!("version {} gets copies of {share}", shadow.version));
        }
        for m in &self.matches {
            let (kind, name) = match (&m.header, &m.cookie) {
                (Some(header), _) => ("header", header.as_str()),
                (None, cookie) => ("cookie", cookie.as_deref().unwrap_or_default()),
            };
            line(out, "match", &format!("{kind}:{name}={}->{}", m.equals, m.version));
        }
        let open = |r: &&Rollout| ["preparing", "running", "paused"].contains(&r.state.as_str());
        if let Some(Rollout { from, to, state }) = self.rollout.as_ref().filter(open) {
            line(out, "rollout", &format!("of version {to} over {from}: {state}"));
        }
        if let Some(Bandit { min, max, interval, metric }) = &self.bandit {
            let [min, max] = [min, max].map(|points| percent(f64::from(*points) / 100.0));
            line(
                out,
                "bandit",
                &format!("by {metric}, every {interval}, between {min} and {max} an arm"),
            );
        }
    }
}

fn line(out: &mut String, what: &str, text: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{what:<10}{}", clean(text));
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
