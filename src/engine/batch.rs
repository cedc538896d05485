//! Rows of several requests on their way into an engine's own memory.

use std::ops::Range;

use bytes::Bytes;

#[cfg(any(feature = "onnxruntime", feature = "openvino"))]
use super::BatchMode;
use crate::tensor::{DType, Tensor};

/// The inputs of one run, in the signature's order.
pub struct Batch {
    /// Rows in all.
    pub rows: usize,
    /// One for each input.
    pub inputs: Vec<BatchInput>,
}

/// One input of a batch: the pieces that the requests came in, not yet joined. The engine joins them with
/// [`BatchInput::copy_rows`] into memory aligned as it likes: the only copy on the data path.
pub struct BatchInput {
    /// Element type.
    pub dtype: DType,
    /// Shape of the joined tensor, rows first.
    pub shape: Vec<usize>,
    parts: Vec<Bytes>,
}

impl Batch {
    /// Joins requests, each a tensor for every input. All agree in dtype and in every dimension
    /// but the first: the lanes of the batcher see to it.
    pub fn gather<'a>(requests: impl Iterator<Item = &'a [Tensor]>) -> Batch {
        let mut inputs: Vec<BatchInput> = Vec::new();
        let mut rows = 0;
        for (i, request) in requests.enumerate() {
            rows += request.first().map_or(0, Tensor::rows);
            for (slot, tensor) in request.iter().enumerate() {
                if i == 0 {
                    let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
                    let parts = tensor.data().pieces().to_vec();
                    inputs.push(BatchInput { dtype, shape, parts });
                } else {
                    let input = &mut inputs[slot];
                    debug_assert_eq!(input.shape[1..], tensor.shape()[1..]);
                    input.shape[0] += tensor.rows();
                    input.parts.extend_from_slice(tensor.data().pieces());
                }
            }
        }
        Batch { rows, inputs }
    }

    /// The batch of one request.
    pub fn of(request: &[Tensor]) -> Batch {
        Batch::gather(std::iter::once(request))
    }
}

/// Runs a batch as its mode says: at once, or so many rows at a time, the last of them padded. `run` takes
/// the rows of a step and how many rows the engine is to see, and gives tensors of as many rows.
#[cfg(any(feature = "onnxruntime", feature = "openvino"))]
pub(super) fn run_steps<E>(
    mode: BatchMode,
    rows: usize,
    mut run: impl FnMut(Range<usize>, usize) -> Result<Vec<Tensor>, E>,
) -> Result<Vec<Tensor>, E> {
    let step = match mode {
        BatchMode::Fixed(n) if n > 0 => n,
        BatchMode::Fixed(_) | BatchMode::Rows | BatchMode::Whole => return run(0..rows, rows),
    };
    let mut joined: Vec<Tensor> = Vec::new();
    for start in (0..rows).step_by(step) {
        let range = start..rows.min(start + step);
        let mut outputs = run(range.clone(), step)?;
        if range.len() < step {
            outputs.iter_mut().for_each(|t| *t = t.slice_rows(0..range.len()));
        }
        if start == 0 {
            joined = outputs;
            continue;
        }
        for (all, more) in joined.iter_mut().zip(outputs) {
            // A model of a fixed batch has outputs of a fixed shape, so that they always fit.
            if let Some(longer) = Tensor::concat_rows(&[all.clone(), more]) {
                *all = longer;
            }
        }
    }
    Ok(joined)
}

impl BatchInput {
    /// Bytes of the joined tensor.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to copy.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of one row; the whole for a scalar. Not for byte strings.
    pub fn row_len(&self) -> usize {
        match self.shape.first() {
            Some(rows) if *rows > 0 => self.len() / rows,
            _ => self.len(),
        }
    }

    /// Writes `rows` to the front of `dst` and zeros behind them, which pads a short batch.
    pub fn copy_rows(&self, rows: Range<usize>, dst: &mut [u8]) {
        let row = self.row_len();
        let (mut skip, mut left) = (rows.start * row, rows.len() * row);
        let mut at = 0;
        for part in &self.parts {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let n = left.min(part.len() - skip);
            dst[at..at + n].copy_from_slice(&part[skip..skip + n]);
            (skip, at, left) = (0, at + n, left - n);
        }
        dst[at..].fill(0);
    }

    /// The joined bytes as one buffer, without a copy where they came as one.
    pub fn joined(&self) -> Bytes {
        match &self.parts[..] {
            [one] => one.clone(),
            parts => Bytes::from(parts.concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_rows_across_parts_and_pads_with_zeros() {
        let t = |v: &[f32]| vec![Tensor::from_f32(vec![v.len() / 2, 2], v).unwrap()];
        let (a, b) = (t(&[1., 2.]), t(&[3., 4., 5., 6.]));
        let batch = Batch::gather([&a[..], &b[..]].into_iter());
        assert_eq!((batch.rows, &batch.inputs[0].shape[..]), (3, &[3, 2][..]));
        let mut dst = [9u8; 24];
        batch.inputs[0].copy_rows(1..3, &mut dst);
        let got = Tensor::new(DType::F32, vec![3, 2], Bytes::copy_from_slice(&dst)).unwrap();
        assert_eq!(got.to_f32().unwrap(), [3., 4., 5., 6., 0., 0.]);
        assert_eq!(batch.inputs[0].joined().len(), 24);
    }

    #[test]
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    fn a_fixed_batch_is_run_in_steps_and_the_padding_is_cut_off() {
        let mut seen = Vec::new();
        let outputs = run_steps(BatchMode::Fixed(2), 5, |rows, step| {
            let values: Vec<f32> = (rows.start..rows.start + step).map(|r| r as f32).collect();
            seen.push((rows, step));
            Ok::<_, ()>(vec![Tensor::from_f32(vec![step, 1], &values).unwrap()])
        });
        assert_eq!(outputs.unwrap()[0].to_f32().unwrap(), [0., 1., 2., 3., 4.]);
        assert_eq!(seen, [(0..2, 2), (2..4, 2), (4..5, 2)]);
        let whole = run_steps(BatchMode::Rows, 5, |rows, step| {
            assert_eq!((rows, step), (0..5, 5));
            Err::<Vec<Tensor>, _>("no")
        });
        assert_eq!(whole.unwrap_err(), "no");
    }
}
