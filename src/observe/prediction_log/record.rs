//! A line of the log.

use std::borrow::Cow;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderStringWriter;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

/// One prediction.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When it was answered.
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
    /// The id that went out with the answer.
    pub request_id: String,
    /// Which model answered.
    pub model: Arc<str>,
    /// Which version of it.
    pub version: u64,
    /// `ok`, or what kind of error.
    pub status: Cow<'static, str>,
    /// The best classes of each row, best first; empty if it was no classification.
    pub top_k: Vec<Vec<Scored>>,
    /// Where the time went.
    pub timings_us: Timings,
    /// What was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

/// A class and its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Its place in the model's output.
    pub class: u32,
    /// Its name, if the model has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Arc<str>>,
    /// Its score. One that is not a number is written as null.
    pub score: f32,
}

/// Microseconds by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// Waiting for a thread.
    pub queue: u64,
    /// Making tensors out of images.
    pub preprocess: u64,
    /// In the model.
    pub compute: u64,
    /// From the first byte in to the last byte out.
    pub total: u64,
}

/// What a model was given. Bytes come in the pieces they were received in and are shared with the
/// request; in the log they are base64.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Input {
    /// A tensor, little-endian.
    Tensor {
        /// Its name.
        name: String,
        /// Its element type, as the Open Inference Protocol names it.
        dtype: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Its elements.
        #[serde(serialize_with = "base64")]
        data: SmallVec<[Bytes; 1]>,
    },
    /// An image file as it was sent.
    Image {
        /// Its bytes.
        #[serde(serialize_with = "base64")]
        image: SmallVec<[Bytes; 1]>,
    },
}

impl Record {
    /// Bytes of its inputs.
    pub(super) fn input_bytes(&self) -> usize {
        let pieces = self.inputs.iter().flat_map(|input| match input {
            Input::Tensor { data, .. } => data,
            Input::Image { image } => image,
        });
        pieces.map(Bytes::len).sum()
    }

    /// The record as a line, with its end.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }
}

/// With always as many digits, so that lines can be sorted.
fn rfc3339<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("{at:.6}"))
}

fn base64<S: Serializer>(pieces: &[Bytes], out: S) -> Result<S::Ok, S::Error> {
    let mut text = EncoderStringWriter::new(&STANDARD);
    pieces.iter().try_for_each(|p| std::io::Write::write_all(&mut text, p)).map_err(
        // It writes to memory.
        serde::ser::Error::custom,
    )?;
    out.serialize_str(&text.into_inner())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use smallvec::smallvec;

    /// A record that tells itself from others.
    pub fn record(n: u64) -> Record {
        Record {
            at: Timestamp::from_microsecond(1_767_323_045_500_000).unwrap(),
            request_id: format!("id-{n}"),
            model: "mnist".into(),
            version: n,
            status: "ok".into(),
            top_k: vec![vec![Scored { class: 7, label: None, score: 0.5 }]],
            timings_us: Timings { queue: 1, preprocess: 2, compute: 3, total: 7 },
            inputs: vec![],
        }
    }

    fn line(record: &Record) -> String {
        let mut out = vec![];
        record.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn is_one_line_of_json() {
        let mut r = record(3);
        r.status = "a\nb".into();
        r.top_k[0].push(Scored { class: 1, label: Some("one".into()), score: f32::NAN });
        let expected = concat!(
            r#"{"at":"2026-01-02T03:04:05.500000Z","request_id":"id-3","model":"mnist","version":3,"#,
            r#""status":"a\nb","top_k":[[{"class":7,"score":0.5},{"class":1,"label":"one","#,
            r#""score":null}]],"timings_us":{"queue":1,"preprocess":2,"compute":3,"total":7}}"#,
            "\n"
        );
        assert_eq!(line(&r), expected);
    }

    #[test]
    fn inputs_are_base64_whatever_pieces_they_came_in() {
        let mut r = record(1);
        let pieces = smallvec![Bytes::from_static(b"h"), Bytes::from_static(b"ello")];
        let (name, shape) = ("x".to_owned(), vec![1, 5]);
        r.inputs.push(Input::Tensor { name, dtype: "UINT8", shape, data: pieces });
        r.inputs.push(Input::Image { image: smallvec![Bytes::from_static(b"png")] });
        assert_eq!(r.input_bytes(), 8);
        let json: serde_json::Value = serde_json::from_str(&line(&r)).unwrap();
        let expected = serde_json::json!([
            {"name": "x", "dtype": "UINT8", "shape": [1, 5], "data": "aGVsbG8="},
            {"image": "cG5n"},
        ]);
        assert_eq!(json["inputs"], expected);
    }
}
