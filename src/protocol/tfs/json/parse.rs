//! Request bodies into inputs.

use jiter::{Jiter, Peek};

use super::collect::{Collector, syntax};
use super::{Form, JsonError, PredictRequest};
use crate::engine::TensorSpec;

/// Reads the body of `:predict`. `image` names the input that takes encoded images.
pub fn parse_predict(
    body: &[u8],
    inputs: &[TensorSpec],
    image: Option<&str>,
) -> Result<PredictRequest, JsonError> {
    let parser = Parser { inputs, image, body };
    parser.document(|parser, json, key| match key {
        "instances" => parser.rows(json, "instances").map(|c| Some((Form::Row, c))),
        "inputs" => parser.columns(json).map(|c| Some((Form::Columnar, c))),
        _ => Ok(None),
    })
}

/// Reads the body of `:classify` and `:regress`: `examples` are rows of named features. A
/// `context` would hold features common to all examples; image models have none.
pub fn parse_examples(
    body: &[u8],
    inputs: &[TensorSpec],
    image: Option<&str>,
) -> Result<PredictRequest, JsonError> {
    let parser = Parser { inputs, image, body };
    parser.document(|parser, json, key| match key {
        "examples" => parser.rows(json, "examples").map(|c| Some((Form::Row, c))),
        "context" => Err(JsonError("`context` is not supported: put every feature in `examples`".into())),
        _ => Ok(None),
    })
}

struct Parser<'a> {
    inputs: &'a [TensorSpec],
    image: Option<&'a str>,
    body: &'a [u8],
}

type Found<'a> = Option<(Form, Vec<Collector<'a>>)>;

impl<'a> Parser<'a> {
    fn document(
        &self,
        known: impl Fn(&Self, &mut Jiter<'_>, &str) -> Result<Found<'a>, JsonError>,
    ) -> Result<PredictRequest, JsonError> {
        let mut json = Jiter::new(self.body).with_allow_inf_nan();
        let (mut signature_name, mut found) = (None, None);
        let fail = |json: &Jiter<'_>, e: jiter::JiterError| syntax(json, &e);
        let mut key = json.next_object().map(|k| k.map(str::to_owned));
        loop {
            let Some(name) = key.map_err(|e| fail(&json, e))? else { break };
            if name == "signature_name" {
                let text = json.next_str().map(str::to_owned).map_err(|e| fail(&json, e))?;
                signature_name = Some(text);
            } else if let Some(values) = known(self, &mut json, &name)? {
                if found.replace(values).is_some() {
                    return Err(JsonError("give one of `instances` and `inputs`, once".to_owned()));
                }
            } else {
                // TensorFlow Serving passes over what it does not know.
                json.next_skip().map_err(|e| fail(&json, e))?;
            }
            key = json.next_key().map(|k| k.map(str::to_owned));
        }
        json.finish().map_err(|e| fail(&json, e))?;
        let (form, collectors) =
            found.ok_or_else(|| JsonError("Missing 'inputs' or 'instances' key".to_owned()))?;
        let named = |c: Collector<'_>| Ok((c.spec.name.clone(), c.finish()?));
        let inputs = collectors.into_iter().map(named).collect::<Result<_, _>>()?;
        Ok(PredictRequest { signature_name, form, inputs })
    }

    fn collectors(&self) -> Vec<Collector<'a>> {
        let share = self.body.len() / self.inputs.len().max(1);
        let one = |spec: &'a TensorSpec| Collector::new(spec, self.image == Some(&spec.name), share);
        self.inputs.iter().map(one).collect()
    }

    fn index(&self, name: &str) -> Result<usize, JsonError> {
        let found = self.inputs.iter().position(|i| i.name == name);
        found.ok_or_else(|| JsonError(format!("no input `{name}`; inputs: {}", self.names())))
    }

    fn names(&self) -> String {
        self.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn only(&self) -> Result<(), JsonError> {
        match self.inputs {
            [_] => Ok(()),
            _ => Err(JsonError(format!("name the inputs: {}", self.names()))),
        }
    }

    /// A list of rows: each the value of the only input, or an object of named values.
    fn rows(&self, json: &mut Jiter<'_>, key: &str) -> Result<Vec<Collector<'a>>, JsonError> {
        let mut all = self.collectors();
        let mut seen = vec![0usize; all.len()];
        let mut rows = 0;
        if json.peek().map_err(|e| syntax(json, &e))? != Peek::Array {
            return Err(JsonError(format!("Expecting '{key}' value to be an list/array")));
        }
        let mut next = json.known_array().map_err(|e| syntax(json, &e))?;
        while let Some(peek) = next {
            all.iter_mut().for_each(|c| c.row(rows));
            if peek == Peek::Object && !is_b64(json, self.body) {
                self.named_row(json, &mut all, &mut seen, rows)?;
            } else {
                self.only()?;
                all[0].value(json, peek, 1)?;
                seen[0] += 1;
            }
            rows += 1;
            next = json.array_step().map_err(|e| syntax(json, &e))?;
        }
        if rows == 0 {
            return Err(JsonError(format!("'{key}' value is an empty array")));
        }
        all.iter_mut().for_each(|c| c.rows(rows));
        Ok(all)
    }

    fn named_row(
        &self,
        json: &mut Jiter<'_>,
        all: &mut [Collector<'a>],
        seen: &mut [usize],
        row: usize,
    ) -> Result<(), JsonError> {
        let mut key = json.known_object().map(|k| k.map(str::to_owned));
        loop {
            let Some(name) = key.map_err(|e| syntax(json, &e))? else { break };
            let at = self.index(&name)?;
            if seen[at] != row {
                return Err(JsonError(format!("row {row}: `{name}` is there twice, or missing before")));
            }
            seen[at] += 1;
            let peek = json.peek().map_err(|e| syntax(json, &e))?;
            all[at].value(json, peek, 1)?;
            key = json.next_key().map(|k| k.map(str::to_owned));
        }
        match seen.iter().position(|n| *n != row + 1) {
            None => Ok(()),
            Some(at) => Err(JsonError(format!("row {row} lacks `{}`", self.inputs[at].name))),
        }
    }

    /// The value of the only input, or an object of named values.
    fn columns(&self, json: &mut Jiter<'_>) -> Result<Vec<Collector<'a>>, JsonError> {
        let mut all = self.collectors();
        let peek = json.peek().map_err(|e| syntax(json, &e))?;
        if peek != Peek::Object || is_b64(json, self.body) {
            self.only()?;
            all[0].value(json, peek, 0)?;
            return Ok(all);
        }
        let mut key = json.known_object().map(|k| k.map(str::to_owned));
        loop {
            let Some(name) = key.map_err(|e| syntax(json, &e))? else { break };
            let at = self.index(&name)?;
            if !all[at].is_empty() {
                return Err(JsonError(format!("`{name}` is there twice")));
            }
            let peek = json.peek().map_err(|e| syntax(json, &e))?;
            all[at].value(json, peek, 0)?;
            key = json.next_key().map(|k| k.map(str::to_owned));
        }
        match all.iter().find(|c| c.is_empty()) {
            None => Ok(all),
            Some(missing) => Err(JsonError(format!("input `{}` is missing", missing.spec.name))),
        }
    }
}

/// Whether the object that starts here is `{"b64": …`.
fn is_b64(json: &Jiter<'_>, body: &[u8]) -> bool {
    let rest = body.get(json.current_index()..).unwrap_or_default().trim_ascii_start();
    let rest = rest.strip_prefix(b"{").unwrap_or(rest).trim_ascii_start();
    rest.starts_with(b"\"b64\"")
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
