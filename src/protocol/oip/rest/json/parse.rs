//! The members of a request, its inputs and its outputs.

use std::time::Duration;

use jiter::Jiter;

use super::values;
use super::walk::{count, flag, items, members, once, text, whole};
use super::{Head, Input, Source};
use crate::engine::{Signature, TensorSpec};
use crate::protocol::json::{Fault, JsonError, MAX_DEPTH};
use crate::protocol::oip::infer::{Parameters, Wanted};
use crate::tensor::DType;

/// Reads the JSON of a request to a model of this signature.
pub fn parse(body: &[u8], signature: &Signature) -> Result<Head, JsonError> {
    let mut parser = Parser { body, signature, shared_memory: false };
    let mut json = Jiter::new(body).with_allow_inf_nan();
    let head = parser.request(&mut json);
    head.map_err(|fault| fault.locate(&json))
}

struct Parser<'a> {
    body: &'a [u8],
    signature: &'a Signature,
    shared_memory: bool,
}

impl<'a> Parser<'a> {
    fn request(&mut self, json: &mut Jiter<'a>) -> Result<Head, Fault> {
        let place = "request";
        let (mut id, mut parameters, mut inputs, mut outputs) = (None, None, None, None);
        members(json, place, |json, key| match key {
            "id" => once(&mut id, place, key, text(json, place, key)?),
            "parameters" => once(&mut parameters, place, key, request_parameters(json)?),
            "inputs" => once(&mut inputs, place, key, self.inputs(json)?),
            "outputs" => once(&mut outputs, place, key, self.outputs(json)?),
            _ => Ok(json.next_skip()?),
        })?;
        json.finish()?;
        Ok(Head {
            id: id.unwrap_or_default(),
            parameters: parameters.unwrap_or_default(),
            inputs: inputs.ok_or_else(|| Fault::new("the request has no `inputs`"))?,
            outputs: outputs.unwrap_or_default(),
            shared_memory: self.shared_memory,
        })
    }

    fn inputs(&mut self, json: &mut Jiter<'a>) -> Result<Vec<Input>, Fault> {
        let specs = &self.signature.inputs;
        let (mut inputs, mut seen) = (Vec::new(), vec![false; specs.len()]);
        items(json, "inputs", |json, at| {
            let input = self.input(json, at)?;
            known(specs, &mut seen, "input", &input.name)?;
            inputs.push(input);
            Ok(())
        })?;
        Ok(inputs)
    }

    fn input(&mut self, json: &mut Jiter<'a>, at: usize) -> Result<Input, Fault> {
        let place = &format!("inputs[{at}]");
        let (mut name, mut dtype, mut shape) = (None, None, None);
        let (mut parameters, mut data, mut later) = (None, None, None);
        members(json, place, |json, key| match key {
            "name" => once(&mut name, place, key, text(json, place, key)?),
            "datatype" => once(&mut dtype, place, key, datatype(json, place)?),
            "shape" => once(&mut shape, place, key, dimensions(json, place)?),
            "parameters" => once(&mut parameters, place, key, self.input_parameters(json, place)?),
            "data" => {
                if let (Some(name), Some(dtype), Some(shape), None) = (&name, dtype, &shape, &later)
                {
                    let text = self.body.len() - json.current_index();
                    let values = values::read(json, name, dtype, shape, text)?;
                    return once(&mut data, place, key, values);
                }
                // Gone back to when it is known what it holds.
                once(&mut later, place, key, json.clone())?;
                Ok(json.next_skip()?)
            }
            _ => Ok(json.next_skip()?),
        })?;
        let missing = |key: &str| Fault::new(format!("{place}: `{key}` is missing"));
        let name = name.ok_or_else(|| missing("name"))?;
        let dtype = dtype.ok_or_else(|| missing("datatype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        if let Some(mut json) = later {
            let text = self.body.len() - json.current_index();
            let values = values::read(&mut json, &name, dtype, &shape, text);
            let values = values.map_err(|fault| fault.met_by(&json))?;
            once(&mut data, place, "data", values)?;
        }
        let source = match (data, parameters.flatten()) {
            (Some(data), None) => Source::Json(data),
            (None, Some(size)) => Source::Binary(size),
            // It is refused when all is read.
            (None, None) if self.shared_memory => Source::Binary(0),
            (None, None) => {
                let message = "has neither `data` nor a parameter `binary_data_size`";
                return Err(Fault::new(format!("input `{name}` {message}")));
            }
            (Some(_), Some(_)) => {
                let message = "has both `data` and a parameter `binary_data_size`";
                return Err(Fault::new(format!("input `{name}` {message}")));
            }
        };
        Ok(Input { name, dtype, shape, source })
    }

    /// The bytes behind the JSON, if that is where the data is.
    fn input_parameters(
        &mut self,
        json: &mut Jiter<'a>,
        place: &str,
    ) -> Result<Option<usize>, Fault> {
        let mut size = None;
        members(json, &format!("{place}.parameters"), |json, key| match key {
            "binary_data_size" => once(&mut size, place, key, count(json, place, key)?),
            _ => self.other(json, key),
        })?;
        Ok(size)
    }

    fn outputs(&mut self, json: &mut Jiter<'a>) -> Result<Vec<Wanted>, Fault> {
        let specs = &self.signature.outputs;
        let (mut outputs, mut seen) = (Vec::new(), vec![false; specs.len()]);
        items(json, "outputs", |json, at| {
            let output = self.output(json, at)?;
            known(specs, &mut seen, "output", &output.name)?;
            outputs.push(output);
            Ok(())
        })?;
        Ok(outputs)
    }

    fn output(&mut self, json: &mut Jiter<'a>, at: usize) -> Result<Wanted, Fault> {
        let place = &format!("outputs[{at}]");
        let (mut name, mut parameters) = (None, None);
        members(json, place, |json, key| match key {
            "name" => once(&mut name, place, key, text(json, place, key)?),
            "parameters" => {
                let (mut classes, mut binary) = (None, None);
                members(json, &format!("{place}.parameters"), |json, key| match key {
                    "classification" => once(&mut classes, place, key, count(json, place, key)?),
                    "binary_data" => once(&mut binary, place, key, flag(json, place, key)?),
                    _ => self.other(json, key),
                })?;
                once(&mut parameters, place, key, (classes.unwrap_or_default(), binary))
            }
            _ => Ok(json.next_skip()?),
        })?;
        let name = name.ok_or_else(|| Fault::new(format!("{place}: `name` is missing")))?;
        let (classification, binary) = parameters.unwrap_or_default();
        Ok(Wanted { name, classification, binary })
    }

    /// A parameter that means nothing here, or shared memory.
    fn other(&mut self, json: &mut Jiter<'a>, key: &str) -> Result<(), Fault> {
        self.shared_memory |= key == "shared_memory_region";
        Ok(json.next_skip()?)
    }
}

/// Those of the request; what else there is was meant for a backend.
fn request_parameters(json: &mut Jiter<'_>) -> Result<Parameters, Fault> {
    let place = "parameters";
    let (mut priority, mut timeout, mut binary) = (None, None, None);
    members(json, place, |json, key| match key {
        "priority" => once(&mut priority, place, key, whole(json, place, key)?),
        "timeout" => once(&mut timeout, place, key, whole(json, place, key)?),
        "binary_data_output" => once(&mut binary, place, key, flag(json, place, key)?),
        _ => Ok(json.next_skip()?),
    })?;
    Ok(Parameters {
        priority: priority.unwrap_or_default(),
        // Microseconds; 0 is unsaid (docs/protocol/extension_schedule_policy.md).
        timeout: timeout.filter(|us| *us > 0).map(Duration::from_micros),
        binary_data_output: binary.unwrap_or_default(),
    })
}

fn datatype(json: &mut Jiter<'_>, place: &str) -> Result<DType, Fault> {
    let name = text(json, place, "datatype")?;
    DType::from_name(&name).ok_or_else(|| {
        let known: Vec<_> = DType::ALL.iter().map(|d| d.name()).collect();
        let known = known.join(", ");
        Fault::new(format!("{place}: datatype `{name}` is not known; there are {known}"))
    })
}

fn dimensions(json: &mut Jiter<'_>, place: &str) -> Result<Vec<usize>, Fault> {
    let mut shape = Vec::new();
    items(json, &format!("{place}.shape"), |json, at| {
        if at == MAX_DEPTH {
            return Err(Fault::new(format!("{place}.shape: more than {MAX_DEPTH} dimensions")));
        }
        match count(json, place, &format!("shape[{at}]"))? {
            0 => {
                Err(Fault::new(format!("{place}.shape[{at}]: 0; a tensor has at least 1 of each")))
            }
            n => {
                shape.push(n);
                Ok(())
            }
        }
    })?;
    Ok(shape)
}

/// Refuses a name that is none of the model's, or that came before.
fn known(specs: &[TensorSpec], seen: &mut [bool], what: &str, name: &str) -> Result<(), Fault> {
    let Some(at) = specs.iter().position(|spec| spec.name == name) else {
        let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(Fault::new(format!("no {what} `{name}`; {what}s: {}", known.join(", "))));
    };
    match std::mem::replace(&mut seen[at], true) {
        false => Ok(()),
        true => Err(Fault::new(format!("{what} `{name}` is there twice"))),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
