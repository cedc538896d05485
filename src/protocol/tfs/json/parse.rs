//! Request bodies into inputs.

use jiter::{Jiter, Peek};

use super::collect::{Collector, Place};
use super::{Form, JsonError, PredictRequest};
use crate::engine::TensorSpec;
use crate::protocol::json::Fault;
use crate::protocol::json::element::kind;

/// Reads the body of `:predict`. `image` names the input that takes encoded images.
pub fn parse_predict(
    body: &[u8],
    inputs: &[TensorSpec],
    image: Option<&str>,
) -> Result<PredictRequest, JsonError> {
    read(body, inputs, image, Parser::predict)
}

/// Reads the body of `:classify` and `:regress`: `examples` are rows of named features, and the
/// features of `context` go for each example that does not have its own.
pub fn parse_examples(
    body: &[u8],
    inputs: &[TensorSpec],
    image: Option<&str>,
) -> Result<PredictRequest, JsonError> {
    read(body, inputs, image, Parser::classify)
}

type Reader<'a> = fn(&Parser<'a>, &mut Jiter<'a>) -> Result<PredictRequest, Fault>;

fn read<'a>(
    body: &'a [u8],
    inputs: &'a [TensorSpec],
    image: Option<&'a str>,
    reader: Reader<'a>,
) -> Result<PredictRequest, JsonError> {
    let parser = Parser { inputs, image, body };
    let mut json = Jiter::new(body).with_allow_inf_nan();
    reader(&parser, &mut json).map_err(|fault| fault.locate(&json))
}

struct Parser<'a> {
    inputs: &'a [TensorSpec],
    image: Option<&'a str>,
    body: &'a [u8],
}

/// How a list of rows is to be read.
struct Rows<'j> {
    key: &'static str,
    /// Whether a row may be the bare value of the only input.
    bare: bool,
    /// By input: where the value stands that goes for rows without one.
    defaults: Vec<Option<Jiter<'j>>>,
}

impl<'a> Parser<'a> {
    fn predict(&self, json: &mut Jiter<'a>) -> Result<PredictRequest, Fault> {
        let (mut signature_name, mut found) = (None, None);
        let mut key = json.next_object()?.map(str::to_owned);
        while let Some(name) = key {
            if found.is_some() && matches!(name.as_str(), "instances" | "inputs") {
                return Err(Fault::new("Give one of 'inputs' and 'instances', once"));
            }
            match name.as_str() {
                "signature_name" => signature_name = Some(json.next_str()?.to_owned()),
                "instances" => {
                    let defaults = vec![None; self.inputs.len()];
                    let rows = Rows { key: "instances", bare: true, defaults };
                    found = Some((Form::Row, self.rows(json, &rows)?));
                }
                "inputs" => found = Some((Form::Columnar, self.columns(json)?)),
                // TensorFlow Serving passes over what it does not know.
                _ => json.next_skip()?,
            }
            key = json.next_key()?.map(str::to_owned);
        }
        json.finish()?;
        let (form, collectors) =
            found.ok_or_else(|| Fault::new("Missing 'inputs' or 'instances' key"))?;
        request(signature_name, form, collectors)
    }

    /// The context may follow the examples that need it, so these are gone back to.
    fn classify(&self, json: &mut Jiter<'a>) -> Result<PredictRequest, Fault> {
        let (mut signature_name, mut examples) = (None, None);
        let mut defaults = vec![None; self.inputs.len()];
        let mut key = json.next_object()?.map(str::to_owned);
        while let Some(name) = key {
            match name.as_str() {
                "signature_name" => signature_name = Some(json.next_str()?.to_owned()),
                "examples" => {
                    if examples.replace(json.clone()).is_some() {
                        return Err(Fault::new("Give 'examples' once"));
                    }
                    json.next_skip()?;
                }
                "context" => {
                    let mut feature = self.input(json.next_object()?)?;
                    while let Some(at) = feature {
                        defaults[at] = Some(json.clone());
                        json.next_skip()?;
                        feature = self.input(json.next_key()?)?;
                    }
                }
                _ => json.next_skip()?,
            }
            key = json.next_key()?.map(str::to_owned);
        }
        json.finish()?;
        *json = examples.ok_or_else(|| Fault::new("Missing 'examples' key"))?;
        let rows = Rows { key: "examples", bare: false, defaults };
        let collectors = self.rows(json, &rows)?;
        request(signature_name, Form::Row, collectors)
    }

    /// A list of rows: each the value of the only input, or an object of named values.
    fn rows(&self, json: &mut Jiter<'a>, how: &Rows<'a>) -> Result<Vec<Collector<'a>>, Fault> {
        let key = how.key;
        if json.peek()? != Peek::Array {
            return Err(Fault::new(format!("Expecting '{key}' value to be an list/array")));
        }
        let mut all = self.collectors(Place { root: key, rows: true });
        let mut seen = vec![0usize; all.len()];
        let mut rows = 0;
        let mut named = None;
        let mut next = json.known_array()?;
        while let Some(peek) = next {
            all.iter_mut().for_each(|c| c.row(rows));
            let is_named = !how.bare || (peek == Peek::Object && !self.is_base64(json));
            if *named.get_or_insert(is_named) != is_named {
                let message = "rows are all objects of named values, or none is";
                return Err(Fault::new(format!("{key}[{rows}]: {message}")));
            }
            if is_named {
                self.named_row(json, &mut all, &mut seen, (how, rows))?;
            } else {
                self.only(key, &mut all)?.value(json, peek, 1)?;
            }
            rows += 1;
            next = json.array_step()?;
        }
        if rows == 0 {
            return Err(Fault::new(format!("'{key}' value is an empty array")));
        }
        all.iter_mut().for_each(|c| c.rows(rows));
        Ok(all)
    }

    fn named_row(
        &self,
        json: &mut Jiter<'a>,
        all: &mut [Collector<'a>],
        seen: &mut [usize],
        (how, row): (&Rows<'a>, usize),
    ) -> Result<(), Fault> {
        let peek = json.peek()?;
        if peek != Peek::Object {
            let (key, got) = (how.key, kind(peek));
            let message = "expected an object of named values";
            return Err(Fault::new(format!("{key}[{row}]: {message}, got {got}")));
        }
        let mut input = self.input(json.known_object()?)?;
        while let Some(at) = input {
            if seen[at] != row {
                let name = &self.inputs[at].name;
                return Err(Fault::new(format!("{}[{row}]: `{name}` is there twice", how.key)));
            }
            seen[at] += 1;
            all[at].named = true;
            let peek = json.peek()?;
            all[at].value(json, peek, 1)?;
            input = self.input(json.next_key()?)?;
        }
        for ((collector, seen), default) in all.iter_mut().zip(seen).zip(&how.defaults) {
            if *seen > row {
                continue;
            }
            let Some(mut default) = default.clone() else {
                let (key, name) = (how.key, &collector.spec.name);
                return Err(Fault::new(format!("{key}[{row}]: input `{name}` is missing")));
            };
            *seen += 1;
            collector.named = true;
            let peek = default.peek()?;
            collector.value(&mut default, peek, 1).map_err(|fault| fault.met_by(&default))?;
        }
        Ok(())
    }

    /// The value of the only input, or an object of named values.
    fn columns(&self, json: &mut Jiter<'a>) -> Result<Vec<Collector<'a>>, Fault> {
        let key = "inputs";
        let mut all = self.collectors(Place { root: key, rows: false });
        let peek = json.peek()?;
        if peek != Peek::Object || self.is_base64(json) {
            self.only(key, &mut all)?.value(json, peek, 0)?;
            return Ok(all);
        }
        let mut input = self.input(json.known_object()?)?;
        while let Some(at) = input {
            if !all[at].is_empty() {
                let name = &self.inputs[at].name;
                return Err(Fault::new(format!("{key}: `{name}` is there twice")));
            }
            all[at].named = true;
            let peek = json.peek()?;
            all[at].value(json, peek, 0)?;
            input = self.input(json.next_key()?)?;
        }
        match all.iter().find(|c| c.is_empty()) {
            None => Ok(all),
            Some(missing) => {
                Err(Fault::new(format!("{key}: input `{}` is missing", missing.spec.name)))
            }
        }
    }

    fn collectors(&self, place: Place) -> Vec<Collector<'a>> {
        let share = self.body.len() / self.inputs.len().max(1);
        let takes_images = |spec: &TensorSpec| self.image == Some(&spec.name);
        let one = |spec: &'a TensorSpec| Collector::new(spec, place, takes_images(spec), share);
        self.inputs.iter().map(one).collect()
    }

    /// Which input a key names; `None` at the object's end.
    fn input(&self, key: Option<&str>) -> Result<Option<usize>, Fault> {
        let Some(key) = key else { return Ok(None) };
        match self.inputs.iter().position(|i| i.name == key) {
            Some(at) => Ok(Some(at)),
            None => Err(Fault::new(format!("no input `{key}`; the inputs are {}", self.names()))),
        }
    }

    fn only<'c>(
        &self,
        key: &str,
        all: &'c mut [Collector<'a>],
    ) -> Result<&'c mut Collector<'a>, Fault> {
        match all {
            [only] => Ok(only),
            _ => Err(Fault::new(format!("{key}: name the inputs, which are {}", self.names()))),
        }
    }

    fn names(&self) -> String {
        self.inputs.iter().map(|i| format!("`{}`", i.name)).collect::<Vec<_>>().join(", ")
    }

    /// Whether the object that starts here is `{"b64": …`, and `b64` is no input.
    fn is_base64(&self, json: &Jiter<'_>) -> bool {
        let rest = self.body.get(json.current_index()..).unwrap_or_default().trim_ascii_start();
        let rest = rest.strip_prefix(b"{").unwrap_or(rest).trim_ascii_start();
        rest.starts_with(b"\"b64\"") && self.inputs.iter().all(|i| i.name != "b64")
    }
}

fn request(
    signature_name: Option<String>,
    form: Form,
    collectors: Vec<Collector<'_>>,
) -> Result<PredictRequest, Fault> {
    let named = |c: Collector<'_>| Ok((c.spec.name.clone(), c.finish()?));
    let inputs = collectors.into_iter().map(named).collect::<Result<_, Fault>>()?;
    Ok(PredictRequest { signature_name, form, inputs })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
