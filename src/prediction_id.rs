//! The id of an inference answer. It says all that feedback needs, so any replica can take the
//! feedback and none has to remember the answer. Pure.
//!
//! `0193f0c2a7b87c3e9d1f0a2b3c4d5e6f.mnist.3.9+2+7.5f1c9a2b`: a UUID, the model, its version, the
//! class that each row got (`-` where they were not asked for), a checksum. An answer that was given as an arm
//! of the traffic says under which revision: `….mnist.3r12.9….`

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use smallvec::SmallVec;
use uuid::Uuid;
use uuid::fmt::Simple;

/// Classes in an id at most.
pub const MAX_CLASSES: usize = 32;

/// Characters of an id at most.
pub const MAX_LEN: usize = 512;

/// Digits of the checksum.
const SUM_LEN: usize = 8;

/// What stands in for no classes.
const NO_CLASSES: &str = "-";

/// Goes into every checksum. Another layout of the id needs another text here.
const CONTEXT: &[u8] = b"ocelli prediction id 1";

/// What a model's name keeps as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Names one inference answer, and says what answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PredictionId {
    unique: Uuid,
    model: String,
    version: u64,
    revision: Option<u64>,
    classes: SmallVec<[u32; 1]>,
}

/// Why a text is no id, or an id can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Longer than any id.
    #[error("the id has {0} characters, expected at most {MAX_LEN}")]
    TooLong(usize),
    /// Not in five parts.
    #[error("the id has {0} parts, expected unique.model.version.classes.checksum")]
    Parts(usize),
    /// The checksum is of something else.
    #[error("the checksum of the id doesn't fit the rest: it was changed on its way")]
    Checksum,
    /// The first part is no UUID.
    #[error("the id starts with {0:?}, expected a UUID of 32 hexadecimal digits")]
    Unique(String),
    /// The second part can't be decoded.
    #[error("the model in the id is {0:?}, expected a percent-encoded name")]
    Model(String),
    /// The third part is no number.
    #[error(
        "the version in the id is {0:?}, expected a number, or one with a revision such as 3r12"
    )]
    Version(String),
    /// The fourth part is no list of numbers.
    #[error("the classes in the id are {0:?}, expected numbers joined by `+`, or `-`")]
    Classes(String),
    /// More classes than an id has room for.
    #[error("there are {0} classes, an id has room for {MAX_CLASSES}")]
    TooManyClasses(usize),
    /// All parts can be read, but no server writes them so.
    #[error("the id is not spelt as the server spells ids")]
    Spelling,
}

impl PredictionId {
    /// A new id for an answer of a model's version. `classes` are the predicted ones, one a row;
    /// none if they are not asked for.
    pub fn issue(
        model: &str,
        version: u64,
        classes: SmallVec<[u32; 1]>,
    ) -> Result<PredictionId, IdError> {
        PredictionId::new(Uuid::now_v7(), model, version, classes)
    }

    /// An id of these parts, if it can be written as a text that [`FromStr`] takes.
    pub fn new(
        unique: Uuid,
        model: &str,
        version: u64,
        classes: SmallVec<[u32; 1]>,
    ) -> Result<PredictionId, IdError> {
        if classes.len() > MAX_CLASSES {
            return Err(IdError::TooManyClasses(classes.len()));
        }
        let model = model.to_owned();
        PredictionId { unique, model, version, revision: None, classes }.fits()
    }

    /// The same, of an answer that was given as an arm of the traffic under this revision.
    pub fn under(self, revision: u64) -> Result<PredictionId, IdError> {
        PredictionId { revision: Some(revision), ..self }.fits()
    }

    fn fits(self) -> Result<PredictionId, IdError> {
        // Only a very long name with very many classes does not.
        if self.len_at_most() > MAX_LEN {
            let len = self.text().len();
            if len > MAX_LEN {
                return Err(IdError::TooLong(len));
            }
        }
        Ok(self)
    }

    /// Tells this answer from all others.
    pub fn unique(&self) -> Uuid {
        self.unique
    }

    /// The model that answered.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Its version that answered.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The revision of the traffic that it was an arm of; none if the request asked for this version.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// The class that each row got; empty where they were not asked for.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The id as the header has it. [`fmt::Display`] writes the same, at the price of a copy.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.len_at_most());
        let mut number = itoa::Buffer::new();
        text.push_str(self.unique.simple().encode_lower(&mut [0; Simple::LENGTH]));
        text.push('.');
        text.extend(utf8_percent_encode(&self.model, PLAIN));
        text.push('.');
        text.push_str(number.format(self.version));
        if let Some(revision) = self.revision {
            text.push('r');
            text.push_str(number.format(revision));
        }
        text.push('.');
        for (i, class) in self.classes.iter().enumerate() {
            if i > 0 {
                text.push('+');
            }
            text.push_str(number.format(*class));
        }
        if self.classes.is_empty() {
            text.push_str(NO_CLASSES);
        }
        let sum = checksum(&text);
        text.push('.');
        text.push_str(as_text(&sum));
        text
    }

    /// No id of these sizes is longer: every byte of the name may take three characters.
    fn len_at_most(&self) -> usize {
        let dots = 4;
        Simple::LENGTH + 3 * self.model.len() + 41 + 11 * self.classes.len() + 1 + SUM_LEN + dots
    }
}

/// CRC-32 in hexadecimal. It guards against mix-ups, not against forgers, and for that it is better
/// than a piece of a SHA-256: it is sure to find what is changed within four neighbouring
/// characters (a wrong one, two that changed places), finds anything else but for one in 2^32, and
/// is fast on any CPU.
fn checksum(text: &str) -> [u8; SUM_LEN] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut crc = crc32fast::Hasher::new();
    crc.update(CONTEXT);
    crc.update(text.as_bytes());
    let crc = crc.finalize();
    std::array::from_fn(|i| DIGITS[(crc >> (28 - 4 * i)) as usize & 15])
}

fn as_text(sum: &[u8; SUM_LEN]) -> &str {
    // Always digits; the empty text would not pass for a checksum.
    std::str::from_utf8(sum).unwrap_or_default()
}

impl fmt::Display for PredictionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl FromStr for PredictionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<PredictionId, IdError> {
        if text.len() > MAX_LEN {
            return Err(IdError::TooLong(text.len()));
        }
        let parts: SmallVec<[&str; 5]> = text.split('.').collect();
        let [unique, model, version, classes, sum] = parts[..] else {
            return Err(IdError::Parts(parts.len()));
        };
        if sum != as_text(&checksum(&text[..text.len() - sum.len() - 1])) {
            return Err(IdError::Checksum);
        }
        // From here on only what was made by hand fails.
        let number = |text: &str| text.parse().map_err(|_| IdError::Version(version.to_owned()));
        let (of, revision) = version.split_once('r').map_or((version, None), |(v, r)| (v, Some(r)));
        let id = PredictionId {
            unique: Uuid::try_parse(unique).map_err(|_| IdError::Unique(unique.to_owned()))?,
            model: percent_decode_str(model)
                .decode_utf8()
                .map_err(|_| IdError::Model(model.to_owned()))?
                .into_owned(),
            version: number(of)?,
            revision: revision.map(number).transpose()?,
            classes: parse_classes(classes)?,
        };
        if id.text() == text { Ok(id) } else { Err(IdError::Spelling) }
    }
}

fn parse_classes(text: &str) -> Result<SmallVec<[u32; 1]>, IdError> {
    if text == NO_CLASSES {
        return Ok(SmallVec::new());
    }
    let classes: Result<SmallVec<[u32; 1]>, _> = text.split('+').map(str::parse).collect();
    let classes = classes.map_err(|_| IdError::Classes(text.to_owned()))?;
    if classes.len() > MAX_CLASSES {
        return Err(IdError::TooManyClasses(classes.len()));
    }
    Ok(classes)
}

#[cfg(test)]
#[path = "prediction_id_tests.rs"]
mod tests;
