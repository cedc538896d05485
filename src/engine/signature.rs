//! What a model takes and gives, in terms every protocol can translate.

use std::fmt;

use crate::tensor::DType;

/// One dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A length known at load.
    Fixed(usize),
    /// A length each request chooses; the model's own name for it, if it has one.
    Dynamic(String),
}

/// A declared input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The model's name for it.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, the batch first where there is one.
    pub shape: Vec<Dim>,
}

impl TensorSpec {
    /// Whether a tensor of `shape` may be bound here.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(d, n)| match d {
                Dim::Fixed(len) => len == n,
                Dim::Dynamic(_) => *n > 0,
            })
    }
}

impl TensorSpec {
    /// The dimensions behind the first, if all of them are fixed.
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    pub(super) fn row_shape(&self) -> Option<Vec<usize>> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(len) => Some(*len),
            Dim::Dynamic(_) => None,
        };
        self.shape.get(1..)?.iter().map(fixed).collect()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Dynamic(name) if name.is_empty() => f.write_str("?"),
            Dim::Dynamic(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{} {} [{}]", self.name, self.dtype, dims.join(","))
    }
}

/// How requests may share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMode {
    /// Any number of rows: every input and output leads with the same dynamic dimension.
    Rows,
    /// Exactly this many rows a run: every input and output leads with the same fixed length.
    Fixed(usize),
    /// Some output does not lead with the batch: a request is run alone and never split.
    Whole,
}

/// Inputs, outputs and how they batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// In the model's order.
    pub inputs: Vec<TensorSpec>,
    /// In the model's order.
    pub outputs: Vec<TensorSpec>,
    /// How requests may share a run.
    pub batch_mode: BatchMode,
}

impl Signature {
    /// Reads the batch mode off the declared shapes.
    pub fn new(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> Signature {
        let batch_mode = batch_mode(&inputs, &outputs);
        Signature { inputs, outputs, batch_mode }
    }

    /// The shape of one of its inputs in a request of so many rows; `None` if it has another dimension of any length.
    pub fn input_shape(&self, input: &TensorSpec, rows: usize) -> Option<Vec<usize>> {
        let dims = input.shape.iter().enumerate().map(|(axis, dim)| match dim {
            _ if axis == 0 && self.batch_mode != BatchMode::Whole => Some(rows),
            Dim::Fixed(n) => Some(*n),
            Dim::Dynamic(_) if axis == 0 => Some(rows),
            Dim::Dynamic(_) => None,
        });
        dims.collect()
    }

    /// Whether a batch may yet be told: it is run whole only because no first dimension is known to be the same as
    /// another. Some exporters give it another name at each end, and some give outputs no shape.
    pub fn is_unsettled(&self) -> bool {
        let mut leading = self.inputs.iter().chain(&self.outputs).map(|t| t.shape.first());
        self.batch_mode == BatchMode::Whole
            && leading.all(|first| !matches!(first, Some(Dim::Fixed(_))))
    }

    /// What is known of the same model from elsewhere, if it says the same and no less; else this. Engines
    /// differ in what they keep of the names of dimensions, and without them no batch can be told.
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    pub fn or_known(self, known: Option<&Signature>) -> Signature {
        match known {
            Some(known) if known.says_all_of(&self) => known.clone(),
            _ => self,
        }
    }

    /// Whether names, types, ranks and fixed lengths are those of `other`, but for lengths that only this
    /// one knows.
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    fn says_all_of(&self, other: &Signature) -> bool {
        let dim = |(own, other): (&Dim, &Dim)| own == other || matches!(other, Dim::Dynamic(_));
        let spec = |(own, other): (&TensorSpec, &TensorSpec)| {
            own.name == other.name
                && own.dtype == other.dtype
                && own.shape.len() == other.shape.len()
                && own.shape.iter().zip(&other.shape).all(dim)
        };
        let all = |own: &[TensorSpec], other: &[TensorSpec]| {
            own.len() == other.len() && own.iter().zip(other).all(spec)
        };
        all(&self.inputs, &other.inputs) && all(&self.outputs, &other.outputs)
    }
}

fn batch_mode(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> BatchMode {
    let mut leading = inputs.iter().chain(outputs).map(|t| t.shape.first());
    let Some(Some(batch)) = leading.next() else { return BatchMode::Whole };
    if inputs.is_empty() || !leading.all(|d| d == Some(batch)) {
        return BatchMode::Whole;
    }
    match batch {
        Dim::Fixed(n) => BatchMode::Fixed(*n),
        // Two unnamed dimensions are not known to be the same one.
        Dim::Dynamic(name) if name.is_empty() => BatchMode::Whole,
        Dim::Dynamic(_) => BatchMode::Rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: &[&str]) -> TensorSpec {
        let dim = |d: &&str| d.parse().map_or_else(|_| Dim::Dynamic((*d).to_owned()), Dim::Fixed);
        TensorSpec { name: name.into(), dtype: DType::F32, shape: shape.iter().map(dim).collect() }
    }

    #[track_caller]
    fn check(input: &[&str], outputs: &[&[&str]], expected: BatchMode) {
        let outputs = outputs.iter().map(|s| spec("out", s)).collect();
        assert_eq!(Signature::new(vec![spec("in", input)], outputs).batch_mode, expected);
    }

    #[test]
    fn tells_how_a_model_batches() {
        check(&["batch", "3", "224", "224"], &[&["batch", "1000"]], BatchMode::Rows);
        check(&["1", "3", "224", "224"], &[&["1", "1000"]], BatchMode::Fixed(1));
        check(&["batch", "3"], &[&["selected", "3"]], BatchMode::Whole);
        check(&["batch", "3"], &[&["batch", "3"], &["7", "3"]], BatchMode::Whole);
        check(&["batch", "3"], &[&[]], BatchMode::Whole);
        check(&["", "3"], &[&["", "3"]], BatchMode::Whole);
    }

    #[test]
    fn two_names_of_a_batch_leave_it_open() {
        let of = |input: &[&str], output: &[&str]| {
            Signature::new(vec![spec("in", input)], vec![spec("out", output)]).is_unsettled()
        };
        assert!(of(&["unk__1", "3"], &["unk__2", "9"]) && of(&["n", "3"], &[]));
        assert!(!of(&["n", "3"], &["n", "9"]) && !of(&["n", "3"], &["7", "9"]));
    }

    #[test]
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    fn takes_over_what_is_known_if_it_is_of_the_same_model() {
        let of = |input: &[&str], output: &[&str]| {
            Signature::new(vec![spec("in", input)], vec![spec("out", output)])
        };
        let forgot = of(&["", "3"], &["", "9"]);
        assert_eq!(forgot.batch_mode, BatchMode::Whole);
        let known = of(&["n", "3"], &["n", "9"]);
        assert_eq!(forgot.clone().or_known(Some(&known)).batch_mode, BatchMode::Rows);
        for other in [of(&["n", "4"], &["n", "9"]), of(&["n", "3"], &["n", "9", "1"])] {
            assert_eq!(forgot.clone().or_known(Some(&other)), forgot);
        }
        // A length that only the engine knows is not forgotten.
        let fixed = of(&["1", "3"], &["1", "9"]);
        assert_eq!(fixed.clone().or_known(Some(&known)), fixed);
    }
}
