//! What stands in the ConfigMap: a key a model, a JSON array of documents its value. Pure.
//!
//! Documents of others are carried along as they stand, whether or not this build understands
//! them: while replicas are replaced, some are newer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Document, Histories, KEPT, StoreError, compare, names};

/// Bytes of keys and values at most. Kubernetes takes 1 MiB.
const MOST: usize = 900_000;

/// Keys and values.
pub type Data = BTreeMap<String, String>;

/// All that could be read.
#[derive(Debug, Default)]
pub struct Contents {
    /// The documents.
    pub histories: Histories,
    /// The last revision of each model that is taken, readable or not.
    pub last: BTreeMap<String, u64>,
    /// What is wrong.
    pub troubles: Vec<String>,
}

/// Reads all. Keys that are no model's are passed over.
pub fn read(data: &Data) -> Contents {
    let mut contents = Contents::default();
    for (key, value) in data {
        let Some(model) = names::from_key(key) else { continue };
        let entries = match split(value) {
            Ok(entries) => entries,
            Err(error) => {
                contents.troubles.push(format!("{model}: unreadable: {error}"));
                continue;
            }
        };
        let mut history = Vec::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            match serde_json::from_str::<Document>(entry.get()) {
                Ok(document) => history.push(document),
                // Only what might be in force is worth waking somebody.
                Err(error) if i + 1 == entries.len() => contents
                    .troubles
                    .push(format!("{model}: revision {} is unreadable: {error}", last(&entries))),
                Err(_) => {}
            }
        }
        contents.last.insert(model.clone(), last(&entries));
        if !history.is_empty() {
            history.sort_by_key(|d| d.revision);
            contents.histories.insert(model, history);
        }
    }
    contents
}

/// Adds a document, if its revision is next.
pub fn add(data: &mut Data, model: &str, document: &Document) -> Result<(), StoreError> {
    let key = key(model)?;
    let mut entries = entries(data, &key, model)?;
    compare(model, last(&entries), document.revision)?;
    entries.push(raw(model, document)?);
    entries.drain(..entries.len().saturating_sub(KEPT));
    data.insert(key, join(&entries));
    fit(data, model)
}

/// Adds what of a history is above all there is.
pub fn give_back(data: &mut Data, model: &str, history: &[Document]) -> Result<(), StoreError> {
    let key = key(model)?;
    let mut entries = entries(data, &key, model)?;
    let last = last(&entries);
    for document in history.iter().filter(|d| d.revision > last) {
        entries.push(raw(model, document)?);
    }
    entries.drain(..entries.len().saturating_sub(KEPT));
    data.insert(key, join(&entries));
    fit(data, model)
}

/// Whether nothing of a history is above all there is.
pub fn covers(data: &Data, model: &str, history: &[Document]) -> bool {
    let value = names::to_key(model).and_then(|key| data.get(&key));
    let entries = value.and_then(|value| split(value).ok()).unwrap_or_default();
    history.last().is_none_or(|newest| newest.revision <= last(&entries))
}

/// Whether the very document is there.
pub fn holds(data: &Data, model: &str, document: &Document) -> bool {
    let value = names::to_key(model).and_then(|key| data.get(&key));
    let entries = value.and_then(|value| split(value).ok()).unwrap_or_default();
    let same = |text: &RawValue| raw(model, document).is_ok_and(|own| own.get() == text.get());
    entries.iter().any(|entry| same(entry))
}

/// Makes room by dropping the oldest document of who takes the most of it; never anybody's last.
fn fit(data: &mut Data, model: &str) -> Result<(), StoreError> {
    let mut fixed = Vec::new();
    while data.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MOST {
        let most = data.iter().filter(|(key, _)| !fixed.contains(*key));
        let Some((key, value)) = most.max_by_key(|(_, value)| value.len()) else {
            return Err(StoreError::Invalid(format!("{model}: no room for it in the ConfigMap")));
        };
        let key = key.clone();
        match split(value) {
            // A stranger's key, or one that a person must look at, is left alone.
            Ok(mut entries) if entries.len() > 1 && is_model(&key) => {
                entries.remove(0);
                data.insert(key, join(&entries));
            }
            _ => fixed.push(key),
        }
    }
    Ok(())
}

fn is_model(key: &str) -> bool {
    names::from_key(key).is_some()
}

fn key(model: &str) -> Result<String, StoreError> {
    let long = || StoreError::Invalid(format!("{model}: the name is too long for a ConfigMap"));
    names::to_key(model).ok_or_else(long)
}

fn entries(data: &Data, key: &str, model: &str) -> Result<Vec<Box<RawValue>>, StoreError> {
    let Some(value) = data.get(key) else { return Ok(Vec::new()) };
    split(value).map_err(|error| StoreError::Corrupt {
        what: format!("{model}: what the ConfigMap holds at {key} is unreadable: {error}"),
    })
}

fn split(value: &str) -> Result<Vec<Box<RawValue>>, String> {
    let entries: Vec<Box<RawValue>> = serde_json::from_str(value).map_err(|e| e.to_string())?;
    // What has no revision can't be counted with.
    entries.iter().try_for_each(|entry| revision(entry).map(drop))?;
    Ok(entries)
}

fn revision(entry: &RawValue) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Revision {
        revision: u64,
    }
    let revision = serde_json::from_str::<Revision>(entry.get());
    revision.map(|r| r.revision).map_err(|e| e.to_string())
}

fn last(entries: &[Box<RawValue>]) -> u64 {
    entries.iter().filter_map(|entry| revision(entry).ok()).max().unwrap_or_default()
}

fn raw(model: &str, document: &Document) -> Result<Box<RawValue>, StoreError> {
    let raw = serde_json::value::to_raw_value(document);
    raw.map_err(|e| StoreError::Invalid(format!("{model}: {e}")))
}

/// An array with a line for each, for who looks with `kubectl`.
fn join(entries: &[Box<RawValue>]) -> String {
    let lines: Vec<_> = entries.iter().map(|entry| entry.get()).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document::TrafficSpec;

    fn document(revision: u64, reason: &str) -> Document {
        Document {
            revision,
            author: "admin".to_owned(),
            reason: reason.to_owned(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
            restores: None,
            traffic: TrafficSpec::default(),
            slots: None,
            rollout: None,
            bandit: None,
        }
    }

    fn size(data: &Data) -> usize {
        data.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    #[test]
    fn keeps_the_last_and_counts_on() {
        let mut data = Data::new();
        for revision in 1..=40 {
            add(&mut data, "a/b", &document(revision, "")).unwrap();
        }
        let error = add(&mut data, "a/b", &document(40, "")).unwrap_err();
        let model = "a/b".to_owned();
        assert_eq!(error, StoreError::Conflict { model, expected: 41, found: 40 });
        let contents = read(&data);
        let history = &contents.histories["a/b"];
        assert_eq!((history.len(), history[0].revision), (KEPT, 9));
        assert!(holds(&data, "a/b", &document(40, "")));
        assert!(!holds(&data, "a/b", &document(40, "another's")));
    }

    #[test]
    fn makes_room_where_the_most_is() {
        let mut data = Data::from([("ca.crt".to_owned(), "x".repeat(100_000))]);
        add(&mut data, "small", &document(1, "")).unwrap();
        add(&mut data, "small", &document(2, "")).unwrap();
        for revision in 1..=20 {
            add(&mut data, "large", &document(revision, &"y".repeat(90_000))).unwrap();
            assert!(size(&data) <= MOST);
        }
        let contents = read(&data);
        assert_eq!(contents.histories["small"].len(), 2);
        assert_eq!(contents.histories["large"].len(), 8);
        let huge = add(&mut data.clone(), "huge", &document(1, &"z".repeat(800_000)));
        assert!(matches!(huge, Err(StoreError::Invalid(_))), "{huge:?}");
        assert_eq!(read(&data).histories["large"].last().unwrap().revision, 20);
    }

    #[test]
    fn carries_along_what_it_does_not_understand() {
        let newer = r#"{"revision":1,"colour":"blue"}"#;
        let mut data = Data::from([("m".to_owned(), format!("[{newer}]"))]);
        assert_eq!(read(&data).last["m"], 1);
        assert!(read(&data).troubles[0].starts_with("m: revision 1 is unreadable"));
        add(&mut data, "m", &document(2, "")).unwrap();
        assert!(data["m"].contains(newer));
        let contents = read(&data);
        assert!(contents.troubles.is_empty());
        assert_eq!(contents.histories["m"].len(), 1);
    }

    #[test]
    fn what_is_no_history_is_left_to_people() {
        for value in ["", "{}", "[1]", "[{}]", "[{\"revision\":1}"] {
            let mut data = Data::from([("m".to_owned(), value.to_owned())]);
            let contents = read(&data);
            assert!(contents.histories.is_empty() && contents.troubles.len() == 1, "{value}");
            let refused = add(&mut data, "m", &document(1, ""));
            assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{value}: {refused:?}");
            assert_eq!(data["m"], value);
        }
    }

    #[test]
    fn gives_back_only_what_is_lost() {
        let mut data = Data::new();
        let history = [document(7, ""), document(8, ""), document(12, "")];
        assert!(!covers(&data, "m", &history));
        give_back(&mut data, "m", &history[..1]).unwrap();
        assert!(!covers(&data, "m", &history));
        // One that was set back keeps what it has.
        let other = [document(7, "another's"), history[1].clone(), history[2].clone()];
        give_back(&mut data, "m", &other).unwrap();
        assert_eq!(read(&data).histories["m"], history);
        assert!(covers(&data, "m", &history));
        let before = data.clone();
        give_back(&mut data, "m", &history).unwrap();
        assert_eq!(data, before);
        add(&mut data, "m", &document(13, "")).unwrap();
    }
}
