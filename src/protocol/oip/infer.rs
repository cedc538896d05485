//! An inference request, whichever door it came through, and what is answered.

use std::time::Duration;

use crate::batcher::{Place, Priority};
use crate::engine::BatchMode;
use crate::error::InferError;
use crate::input::InputValue;
use crate::protocol::http::{Asks, Shared};
use crate::router::{ModelSpec, Selector, ServedVersion};
use crate::service::{Request, Routed};
use crate::tensor::{DType, Tensor};
use crate::vision::{Answerer, best};

/// A decoded request.
#[derive(Debug, Default)]
pub struct Call {
    /// The caller's own name for it, given back.
    pub id: String,
    /// What it asks for as a whole.
    pub parameters: Parameters,
    /// By name, in any order. Byte strings for an image input are encoded images.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs that are wanted; none means all.
    pub outputs: Vec<Wanted>,
}

/// The parameters of a request that mean something here. Others are passed over, as Triton does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// 1 goes first, 2 is the rule, what is higher comes last; 0 is unsaid.
    pub priority: u64,
    /// The time the request has.
    pub timeout: Option<Duration>,
    /// Whether outputs are wanted as bytes behind the JSON, where they don't say themselves.
    pub binary_data_output: bool,
}

/// An output that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The best so many classes instead of the tensor; 0 is the tensor.
    pub classification: usize,
    /// Whether it is wanted as bytes behind the JSON.
    pub binary: Option<bool>,
}

/// Which version of a model is meant; versions are numbers, and no text is the traffic's choice.
pub fn spec(model: &str, version: &str) -> Result<ModelSpec, InferError> {
    let selector = match version {
        "" => Selector::Traffic,
        text => match text.parse() {
            Ok(version) if text.bytes().all(|b| b.is_ascii_digit()) => Selector::Version(version),
            _ => {
                return Err(InferError::Invalid(format!(
                    "{model}: version `{text}` is no number; leave it out for the traffic's choice"
                )));
            }
        },
    };
    Ok(ModelSpec { model: model.to_owned(), selector })
}

/// The error of a load that brings a configuration or files of its own.
pub fn no_override(parameter: &str) -> InferError {
    InferError::Unimplemented(format!(
        "load parameter `{parameter}`: a model is loaded as its directory has it; change its files \
         or its model.toml there"
    ))
}

/// Computes a call on the version it was routed to. The outputs come in the order they were asked
/// for, or else in the signature's.
pub async fn run(
    shared: &Shared,
    routed: &Routed,
    call: Call,
    asks: Asks,
) -> Result<Vec<(String, Tensor)>, InferError> {
    let place = routed.version.reserve(priority(&call, asks))?;
    run_in(shared, routed, place, call, asks).await
}

/// As [`run`], for who holds a place in the queue since before the call was decoded.
pub async fn run_in(
    shared: &Shared,
    routed: &Routed,
    mut place: Place,
    call: Call,
    asks: Asks,
) -> Result<Vec<(String, Tensor)>, InferError> {
    let version = &routed.version;
    let wanted = wanted(version, &call.outputs)?;
    let timeout = [call.parameters.timeout, asks.timeout].into_iter().flatten().min();
    let deadline = shared.service.deadline(routed, timeout);
    place.goes(priority(&call, asks));
    let inputs = call.inputs.into_iter().map(|(name, tensor)| {
        let value = value(version, &name, tensor)?;
        Ok((name, value))
    });
    let inputs = inputs.collect::<Result<_, InferError>>()?;
    let request = Request { inputs, deadline, fresh: asks.fresh };
    let response = shared.service.infer(routed, place, request).await?;
    let names = |at: usize| version.signature().outputs[at].name.clone();
    let output = |(at, classes): (usize, usize)| {
        let Some(tensor) = response.outputs.get(at) else {
            return Err(InferError::Internal(format!("output {at} is missing")));
        };
        match classes {
            0 => Ok((names(at), tensor.clone())),
            n => Ok((names(at), classify(version, at, tensor, n)?)),
        }
    };
    wanted.into_iter().map(output).collect()
}

/// What the call says, or else its headers.
fn priority(call: &Call, asks: Asks) -> Priority {
    match call.parameters.priority {
        0 => asks.priority,
        1 => Priority::High,
        2 => Priority::Normal,
        _ => Priority::Low,
    }
}

fn value(version: &ServedVersion, name: &str, tensor: Tensor) -> Result<InputValue, InferError> {
    let takes_images = version.image_input().is_some_and(|spec| spec.name == name);
    if !takes_images || tensor.dtype() != DType::Bytes {
        return Ok(InputValue::Tensor(tensor));
    }
    let (images, rows) = (tensor.strings(), tensor.rows());
    if images.len() != rows {
        let got = format!("got {} in {rows}", images.len());
        return Err(version.invalid(format!("input `{name}`: expected one image a row, {got}")));
    }
    Ok(InputValue::Images(images))
}

/// Where the wanted outputs stand in the signature, with the classes wanted of each.
fn wanted(version: &ServedVersion, asked: &[Wanted]) -> Result<Vec<(usize, usize)>, InferError> {
    let outputs = &version.signature().outputs;
    if asked.is_empty() {
        return Ok((0..outputs.len()).map(|at| (at, 0)).collect());
    }
    let mut seen = vec![false; outputs.len()];
    let place = |wanted: &Wanted| {
        let at = outputs.iter().position(|o| o.name == wanted.name).ok_or_else(|| {
            let known: Vec<_> = outputs.iter().map(|o| o.name.as_str()).collect();
            version.invalid(format!("no output `{}`; outputs: {}", wanted.name, known.join(", ")))
        })?;
        // A short request must not have an answer without end.
        if std::mem::replace(&mut seen[at], true) {
            return Err(version.invalid(format!("output `{}` is asked for twice", wanted.name)));
        }
        Ok((at, wanted.classification))
    };
    asked.iter().map(place).collect()
}

/// The classification extension: the best classes of each row as `score:index[:label]`
/// (docs/protocol/extension_classification.md).
fn classify(
    version: &ServedVersion,
    output: usize,
    tensor: &Tensor,
    count: usize,
) -> Result<Tensor, InferError> {
    let scores = tensor.to_f32().ok_or_else(|| {
        version.invalid(format!("output {output} holds byte strings, which have no best classes"))
    })?;
    let rows = match version.signature().batch_mode {
        BatchMode::Whole => None,
        _ => Some(tensor.rows()),
    };
    let classes = scores.len() / rows.unwrap_or(1).max(1);
    let count = count.min(classes);
    let labels = match &version.answerer {
        Some(Answerer::Classifier(c)) if c.output() == output => Some(c),
        _ => None,
    };
    let whole = tensor.dtype().is_integer();
    let mut texts = Vec::with_capacity(rows.unwrap_or(1) * count);
    for row in scores.chunks_exact(classes.max(1)) {
        for index in best(row, count) {
            let score = row[index];
            // As C's printf has it.
            let mut text =
                if whole { format!("{score:.0}:{index}") } else { format!("{score:.6}:{index}") };
            if score.is_nan() {
                text = format!("nan:{index}");
            }
            if let Some(label) = labels.and_then(|l| l.label(index)) {
                text = format!("{text}:{label}");
            }
            texts.push(text);
        }
    }
    let shape = rows.into_iter().chain([count]).collect();
    Tensor::from_strings(shape, &texts).map_err(|e| InferError::Internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let selector = |text| spec("m", text).map(|s| s.selector).ok();
        assert_eq!(selector(""), Some(Selector::Traffic));
        assert_eq!(selector("12"), Some(Selector::Version(12)));
        for wrong in ["+1", "-1", "v1", "1 ", "99999999999999999999"] {
            assert_eq!(selector(wrong), None, "{wrong}");
        }
    }
}
