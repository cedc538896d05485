//! One document as a file's bytes, with a checksum of itself. Pure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::control::document::Document;
use crate::digest::Digest;

/// The file. The checksum is of the document's bytes as they stand there.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    sha256: String,
    #[serde(borrow)]
    document: &'a RawValue,
}

/// A document as a file's bytes.
pub fn seal(document: &Document) -> serde_json::Result<Vec<u8>> {
    let document = serde_json::value::to_raw_value(document)?;
    let sealed = Sealed { sha256: checksum(document.get()), document: &document };
    let mut bytes = serde_json::to_vec(&sealed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The document of a file that is named for `revision`, or what is wrong with it.
pub fn unseal(bytes: &[u8], revision: u64) -> Result<Document, String> {
    let sealed: Sealed = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let text = sealed.document.get();
    if checksum(text) != sealed.sha256 {
        return Err("its checksum is wrong".to_owned());
    }
    let document: Document = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if document.revision != revision {
        return Err(format!("it holds revision {}", document.revision));
    }
    Ok(document)
}

fn checksum(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document::{Arm, Shadow, TrafficSpec};

    fn document() -> Document {
        Document {
            revision: 3,
            author: "admin".to_owned(),
            reason: "because \"ä\"".to_owned(),
            created: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            restores: Some(1),
            traffic: TrafficSpec {
                arms: vec![Arm { version: 1, weight: 10_000 }],
                shadow: vec![Shadow { version: 2, percent: 12.5 }],
                ..TrafficSpec::default()
            },
            slots: Some(crate::router::Slots::all(1)),
            rollout: None,
            bandit: None,
        }
    }

    #[test]
    fn there_and_back() {
        let bytes = seal(&document()).unwrap();
        assert!(bytes.starts_with(b"{\"sha256\":\""));
        assert_eq!(unseal(&bytes, 3).unwrap(), document());
    }

    #[test]
    fn no_change_and_no_cut_goes_unnoticed() {
        let bytes = seal(&document()).unwrap();
        for at in 0..bytes.len() - 1 {
            assert!(unseal(&bytes[..at], 3).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x01;
            assert!(unseal(&changed, 3).is_err(), "changed at {at}");
        }
        assert_eq!(unseal(&bytes, 4).unwrap_err(), "it holds revision 3");
    }
}
