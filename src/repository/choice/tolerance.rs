//! How much two engines may differ on a model and still count as giving the same answers. Pure.
//!
//! Differences are measured against the largest value of the reference's output, over all inputs that were
//! tried: so logits and probabilities are held to the same. A best class can then differ only where the
//! reference's two best lie nearer to each other than twice the tolerance.

use std::fmt;

use crate::engine::Precision;
use crate::tensor::{DType, Tensor};

/// The largest difference that is allowed, as a share of the reference's largest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance(pub f64);

/// Engines add up in other orders, and so round otherwise: a few units of the last place, which grow
/// with depth. Measured on deep networks: up to about 1e-5.
const SAME: f64 = 1e-3;

/// Brain floats have three decimal digits less. An integer model rounds each layer to one of 256 steps, and engines
/// break ties, saturate and fuse otherwise.
const COARSE: f64 = 5e-2;

impl Tolerance {
    /// What holds for a precision, and for a model with quantised operators.
    pub fn of(precision: Precision, quantised: bool) -> Tolerance {
        match (precision, quantised) {
            (Precision::F32, false) => Tolerance(SAME),
            (Precision::Bf16, _) | (_, true) => Tolerance(COARSE),
        }
    }

    /// Whether so much is allowed.
    pub fn allows(self, difference: &Difference) -> bool {
        difference.relative <= self.0
    }
}

/// The largest difference between two engines' outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// In the output's own units.
    pub absolute: f64,
    /// As a share of the largest value of the reference's same output.
    pub relative: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} ({:.1e} of the largest value)", self.absolute, self.relative)
    }
}

/// Compares the outputs of several runs: each a list in the signature's order. Says what differs
/// if more does than numbers.
pub fn compare(reference: &[Vec<Tensor>], other: &[Vec<Tensor>]) -> Result<Difference, String> {
    let outputs = reference.first().map_or(0, Vec::len);
    let mut worst = Difference::default();
    for output in 0..outputs {
        let of = |runs: &[Vec<Tensor>]| {
            let tensors = runs.iter().map(|run| run.get(output).cloned());
            tensors.collect::<Option<Vec<_>>>().ok_or_else(|| format!("output {output} is missing"))
        };
        let difference = one_output(&of(reference)?, &of(other)?)
            .map_err(|what| format!("output {output}: {what}"))?;
        if difference.relative > worst.relative {
            worst = difference;
        }
    }
    Ok(worst)
}

fn one_output(reference: &[Tensor], other: &[Tensor]) -> Result<Difference, String> {
    let (mut largest, mut absolute) = (0f64, 0f64);
    for (a, b) in reference.iter().zip(other) {
        if (a.dtype(), a.shape()) != (b.dtype(), b.shape()) {
            let told = |t: &Tensor| format!("{} {:?}", t.dtype(), t.shape());
            return Err(format!("{} instead of {}", told(b), told(a)));
        }
        if a.dtype().is_integer() || a.dtype() == DType::Bytes {
            if a != b {
                return Err("other whole numbers".to_owned());
            }
            continue;
        }
        let values = a.to_f32().zip(b.to_f32()).ok_or("no numbers")?;
        for (a, b) in values.0.into_iter().zip(values.1) {
            if a == b || (a.is_nan() && b.is_nan()) {
                largest = largest.max(f64::from(a.abs()));
                continue;
            }
            if !a.is_finite() || !b.is_finite() {
                return Err(format!("{b} instead of {a}"));
            }
            largest = largest.max(f64::from(a.abs()));
            absolute = absolute.max((f64::from(a) - f64::from(b)).abs());
        }
    }
    let relative = if absolute == 0.0 { 0.0 } else { absolute / largest };
    Ok(Difference { absolute, relative })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f32]) -> Vec<Tensor> {
        vec![Tensor::from_f32(vec![1, values.len()], values).unwrap()]
    }

    #[test]
    fn a_difference_is_measured_against_the_largest_value_of_all_runs() {
        let reference = [run(&[1.0, -8.0]), run(&[2.0, 0.5])];
        let other = [run(&[1.0, -8.0]), run(&[2.0, 0.6])];
        let difference = compare(&reference, &other).unwrap();
        assert!((difference.absolute - 0.1).abs() < 1e-6, "{difference}");
        assert!((difference.relative - 0.0125).abs() < 1e-6, "{difference}");
        assert!(!Tolerance::of(Precision::F32, false).allows(&difference));
        assert!(Tolerance::of(Precision::F32, true).allows(&difference));
        assert!(Tolerance::of(Precision::Bf16, false).allows(&difference));
        assert_eq!(compare(&reference, &reference).unwrap(), Difference::default());
    }

    #[test]
    fn nothing_makes_up_for_another_shape_type_or_infinity() {
        let nan = compare(&[run(&[1.0])], &[run(&[f32::NAN])]);
        assert_eq!(nan.unwrap_err(), "output 0: NaN instead of 1");
        let shape = compare(&[run(&[1.0])], &[run(&[1.0, 2.0])]);
        assert_eq!(shape.unwrap_err(), "output 0: FP32 [1, 2] instead of FP32 [1, 1]");
        let class = |n: f64| vec![Tensor::from_f64s(DType::I64, vec![1], &[n]).unwrap()];
        assert_eq!(
            compare(&[class(3.0)], &[class(4.0)]).unwrap_err(),
            "output 0: other whole numbers"
        );
        assert_eq!(compare(&[class(3.0)], &[class(3.0)]).unwrap(), Difference::default());
        assert_eq!(compare(&[run(&[1.0])], &[vec![]]).unwrap_err(), "output 0 is missing");
    }

    #[test]
    fn zeros_that_are_no_zeros_are_never_within_it() {
        let difference = compare(&[run(&[0.0])], &[run(&[1e-9])]).unwrap();
        assert!(!Tolerance::of(Precision::Bf16, true).allows(&difference), "{difference}");
    }
}
