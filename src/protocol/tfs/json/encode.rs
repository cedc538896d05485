//! Outputs into answer bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Form, JsonError};
use crate::protocol::json::write::{self, Elements, float, string};
use crate::tensor::{DType, Tensor};

/// `{"predictions": [...]}` or `{"outputs": ...}`. A single output drops its name.
pub fn encode_predict(form: Form, outputs: &[(String, Tensor)]) -> Result<Vec<u8>, JsonError> {
    let bytes: usize = outputs.iter().map(|(_, t)| t.data().len()).sum();
    let mut out = Vec::with_capacity(64 + bytes * 4);
    match form {
        Form::Row => rows(&mut out, outputs)?,
        Form::Columnar => columns(&mut out, outputs),
    }
    Ok(out)
}

/// `{"results": [[["label", score], …], …]}`.
pub fn encode_classify(rows: &[Vec<(String, f32)>]) -> Vec<u8> {
    let mut out = b"{\"results\": [".to_vec();
    list(&mut out, rows.iter(), |out, row| {
        out.push(b'[');
        list(out, row.iter(), |out, (label, score)| {
            out.push(b'[');
            string(out, label);
            out.extend_from_slice(b", ");
            float(out, *score);
            out.push(b']');
        });
        out.push(b']');
    });
    out.extend_from_slice(b"]}");
    out
}

/// `{"results": [value, …]}`.
pub fn encode_regress(values: &[f32]) -> Vec<u8> {
    let mut out = b"{\"results\": [".to_vec();
    list(&mut out, values.iter(), |out, v| float(out, *v));
    out.extend_from_slice(b"]}");
    out
}

fn rows(out: &mut Vec<u8>, outputs: &[(String, Tensor)]) -> Result<(), JsonError> {
    let mut rows = None;
    for (name, tensor) in outputs {
        let Some(&n) = tensor.shape().first() else {
            return Err(JsonError(format!("Tensor name: {name} has no shape information")));
        };
        let expected = *rows.get_or_insert(n);
        if n != expected {
            return Err(JsonError(format!(
                "Tensor name: {name} has inconsistent batch size: {n} expecting: {expected}; \
                 ask with `inputs` instead of `instances`"
            )));
        }
    }
    out.extend_from_slice(b"{\"predictions\": [");
    let mut cursors: Vec<_> = outputs.iter().map(|(name, t)| Cursor::new(name, t)).collect();
    list(out, 0..rows.unwrap_or(0), |out, _| match &mut cursors[..] {
        [only] => only.write(out, 1),
        several => {
            out.push(b'{');
            list(out, several.iter_mut(), |out, cursor| {
                string(out, cursor.name);
                out.extend_from_slice(b": ");
                cursor.write(out, 1);
            });
            out.push(b'}');
        }
    });
    out.extend_from_slice(b"]}");
    Ok(())
}

fn columns(out: &mut Vec<u8>, outputs: &[(String, Tensor)]) {
    out.extend_from_slice(b"{\"outputs\": ");
    match outputs {
        [(name, tensor)] => Cursor::new(name, tensor).write(out, 0),
        several => {
            out.push(b'{');
            list(out, several.iter(), |out, (name, tensor)| {
                string(out, name);
                out.extend_from_slice(b": ");
                Cursor::new(name, tensor).write(out, 0);
            });
            out.push(b'}');
        }
    }
    out.push(b'}');
}

/// Walks a tensor's values in order.
struct Cursor<'a> {
    name: &'a str,
    tensor: &'a Tensor,
    elements: Elements,
}

impl<'a> Cursor<'a> {
    fn new(name: &'a str, tensor: &'a Tensor) -> Cursor<'a> {
        Cursor { name, tensor, elements: Elements::new(tensor) }
    }

    /// Writes the next value of the dimensions from `dim` on.
    fn write(&mut self, out: &mut Vec<u8>, dim: usize) {
        match self.tensor.shape().get(dim) {
            None if self.tensor.dtype() == DType::Bytes => self.bytes(out),
            None => self.elements.write(out),
            Some(&len) => {
                out.push(b'[');
                list(out, 0..len, |out, _| self.write(out, dim + 1));
                out.push(b']');
            }
        }
    }

    fn bytes(&mut self, out: &mut Vec<u8>) {
        let value = self.elements.bytes();
        match std::str::from_utf8(value) {
            Ok(text) if !self.name.ends_with("_bytes") => string(out, text),
            _ => {
                out.extend_from_slice(b"{\"b64\": \"");
                out.extend_from_slice(STANDARD.encode(value).as_bytes());
                out.extend_from_slice(b"\"}");
            }
        }
    }
}

fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, f: impl FnMut(&mut Vec<u8>, T)) {
    write::list(out, b", ", items, f);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn f32s(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_f32(shape.to_vec(), values).unwrap()
    }

    #[track_caller]
    fn check(form: Form, outputs: &[(&str, Tensor)], expected: &str) {
        let outputs: Vec<_> = outputs.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        assert_eq!(String::from_utf8(encode_predict(form, &outputs).unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_single_output_drops_its_name_and_several_keep_theirs() {
        let t = f32s(&[2, 2], &[1., 0.5, -2.25, 1e30]);
        check(Form::Row, &[("a", t.clone())], r#"{"predictions": [[1.0, 0.5], [-2.25, 1e+30]]}"#);
        check(Form::Columnar, &[("a", t.clone())], r#"{"outputs": [[1.0, 0.5], [-2.25, 1e+30]]}"#);
        let n = f32s(&[2], &[7., 8.]);
        check(
            Form::Row,
            &[("a", t), ("n", n)],
            r#"{"predictions": [{"a": [1.0, 0.5], "n": 7.0}, {"a": [-2.25, 1e+30], "n": 8.0}]}"#,
        );
    }

    #[test]
    fn writes_what_json_has_no_word_for_as_tensorflow_serving_does() {
        let t = f32s(&[3], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        check(Form::Row, &[("a", t)], r#"{"predictions": [NaN, Infinity, -Infinity]}"#);
        let strings = Bytes::from_static(b"\x02\0\0\0h\"\x01\0\0\0\xff");
        let t = Tensor::new(DType::Bytes, vec![2], strings).unwrap();
        check(Form::Row, &[("s", t.clone())], r#"{"predictions": ["h\"", {"b64": "/w=="}]}"#);
        check(
            Form::Row,
            &[("s_bytes", t)],
            r#"{"predictions": [{"b64": "aCI="}, {"b64": "/w=="}]}"#,
        );
    }

    #[test]
    fn outputs_without_common_rows_are_told_to_ask_by_columns() {
        let outputs =
            [("a".to_owned(), f32s(&[2], &[1., 2.])), ("b".to_owned(), f32s(&[1], &[1.]))];
        let error = encode_predict(Form::Row, &outputs).unwrap_err().to_string();
        assert!(error.starts_with("Tensor name: b has inconsistent batch size: 1 expecting: 2"));
    }

    #[test]
    fn classifies_and_regresses() {
        let rows = [vec![("cat".to_owned(), 0.75f32)], vec![("dog".to_owned(), 1.0)]];
        let text = String::from_utf8(encode_classify(&rows)).unwrap();
        assert_eq!(text, r#"{"results": [[["cat", 0.75]], [["dog", 1.0]]]}"#);
        assert_eq!(encode_regress(&[0.5, 2.0]), br#"{"results": [0.5, 2.0]}"#);
    }
}
