//! What `ocelli status` tells of the source of models.

use serde::Deserialize;

use super::table::{Cell, Table, bad, figure, good};
use super::words::span;

#[derive(Deserialize)]
pub struct Source {
    url: String,
    ok: bool,
    #[serde(default)]
    last_good_seconds: Option<f64>,
    #[serde(default)]
    error: Option<String>,
    models: u64,
    #[serde(default)]
    failing: Vec<Failing>,
}

#[derive(Deserialize)]
struct Failing {
    file: String,
    message: String,
}

/// A row for each replica that has one, and one for each file that it can't have.
pub fn table(sources: &[(String, Source)]) -> String {
    let mut table = Table::new(["replica", "source", ">models", "read", "state"]);
    for (replica, source) in sources {
        let read = source.last_good_seconds;
        let read = read.map_or_else(|| "not yet".to_owned(), |ago| format!("{} ago", span(ago)));
        let failing = source.failing.iter().map(|f| format!("{}: {}", f.file, f.message));
        let mut states = source.error.iter().cloned().chain(failing);
        let state = match (source.ok, states.next()) {
            (true, _) => Cell::styled("ok", good()),
            (false, Some(why)) => Cell::styled(why, bad()),
            (false, None) => Cell::from("being read"),
        };
        table.row([
            replica.into(),
            (&source.url).into(),
            figure(source.models),
            read.into(),
            state,
        ]);
        for more in states {
            let empty = || Cell::from("");
            table.row([empty(), empty(), empty(), empty(), Cell::styled(more, bad())]);
        }
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.text()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::plain;
    use super::*;

    #[test]
    fn what_can_not_be_had_is_told_beneath_its_replica() {
        let source = |text| serde_json::from_value::<Source>(text).unwrap();
        let sources = [
            (
                "a".to_owned(),
                source(
                    json!({"url": "s3://b/m", "ok": false, "last_good_seconds": 65.5, "error": null,
                    "models": 12, "failing": [
                        {"file": "m/1/x", "reason": "digest", "message": "wrong"},
                        {"file": "n/1/x", "reason": "stalled", "message": "slow"}]}),
                ),
            ),
            (
                "b".to_owned(),
                source(
                    json!({"url": "s3://b/m", "ok": true, "last_good_seconds": 1.0, "error": null,
                    "models": 3, "failing": []}),
                ),
            ),
            (
                "c".to_owned(),
                source(
                    json!({"url": "s3://b/m", "ok": false, "error": null, "models": 0, "failing": []}),
                ),
            ),
        ];
        assert_eq!(
            plain(&table(&sources)),
            "\n\
             replica  source    models  read       state\n\
             a        s3://b/m      12  1m 5s ago  m/1/x: wrong\n\
             \x20                                     n/1/x: slow\n\
             b        s3://b/m       3  1s ago     ok\n\
             c        s3://b/m       0  not yet    being read\n"
        );
        assert_eq!(table(&[]), "");
    }
}
