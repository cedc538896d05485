//! A model that is run: rows into memory that is there already, and out of it again.

use std::ops::Range;
use std::sync::Arc;

use ort::session::Session;

use super::NAME;
use super::value::{self, Names, Value};
use crate::engine::batch::run_steps;
use crate::engine::pool::Pool;
use crate::engine::{Batch, BatchInput, BatchMode, EngineError, Model, Signature, TensorSpec};
use crate::tensor::{DType, Tensor};

/// Buffers that wait for the next run, for each input list and each output.
const IDLE: usize = 16;

pub(super) struct SessionModel {
    session: Session,
    signature: Signature,
    names: Names,
    /// Whole lists of inputs, since they go in together.
    inputs: Arc<Pool<Vec<Value>>>,
    outputs: Vec<Output>,
}

/// Where an output is put.
struct Output {
    dtype: DType,
    /// The shape of a row, if it is the same for every run; else the run makes the memory.
    row: Option<Vec<usize>>,
    idle: Arc<Pool<Value>>,
}

impl SessionModel {
    pub fn new(session: Session, signature: Signature) -> Result<SessionModel, String> {
        let mode = signature.batch_mode;
        let output = |spec: &TensorSpec| Output {
            dtype: spec.dtype,
            row: spec.row_shape().filter(|_| mode != BatchMode::Whole),
            idle: Pool::new(IDLE),
        };
        let outputs = signature.outputs.iter().map(output).collect();
        let names = Names::of(&session)?;
        Ok(SessionModel { session, signature, names, inputs: Pool::new(IDLE), outputs })
    }

    /// Rows `range` of a batch as a run of `rows` rows.
    fn step(&self, batch: &Batch, range: Range<usize>, rows: usize) -> Result<Vec<Tensor>, String> {
        let mut inputs = self.inputs_for(batch, rows)?;
        for (input, value) in batch.inputs.iter().zip(&mut inputs) {
            // A scalar is one row.
            let range = if input.shape.is_empty() { 0..1 } else { range.clone() };
            input.copy_rows(range, value.bytes_mut());
        }
        let outputs = self.outputs.iter().map(|output| output.value(rows));
        let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        value::run(&self.session, &self.names, &inputs, &mut outputs)?;
        self.inputs.give(inputs);
        self.outputs.iter().zip(outputs.into_iter().flatten()).map(|(o, v)| o.tensor(v)).collect()
    }

    fn inputs_for(&self, batch: &Batch, rows: usize) -> Result<Vec<Value>, String> {
        let scalars = batch.inputs.iter().any(|i| i.shape.is_empty());
        let fits = |values: &Vec<Value>| {
            let mut pairs = values.iter().zip(&batch.inputs);
            !scalars
                && pairs
                    .all(|(v, i)| v.is_of(i.dtype, rows_of(i.shape[0], rows, self), &i.shape[1..]))
        };
        if let Some(idle) = self.inputs.take(fits) {
            return Ok(idle);
        }
        let make = |input: &BatchInput| {
            let mut shape = input.shape.clone();
            if let Some(first) = shape.first_mut() {
                *first = rows_of(*first, rows, self);
            }
            Value::new(input.dtype, &shape)
        };
        batch.inputs.iter().map(make).collect()
    }
}

/// A request that is run whole keeps its shape; else the first dimension is the rows of the run.
fn rows_of(first: usize, rows: usize, model: &SessionModel) -> usize {
    if model.signature.batch_mode == BatchMode::Whole { first } else { rows }
}

impl Output {
    fn value(&self, rows: usize) -> Result<Option<Value>, String> {
        let Some(row) = &self.row else { return Ok(None) };
        if let Some(idle) = self.idle.take(|v| v.is_of(self.dtype, rows, row)) {
            return Ok(Some(idle));
        }
        let shape: Vec<usize> = std::iter::once(rows).chain(row.iter().copied()).collect();
        Value::new(self.dtype, &shape).map(Some)
    }

    fn tensor(&self, value: Value) -> Result<Tensor, String> {
        let (dtype, shape) = (value.dtype(), value.shape().collect());
        let bytes = match self.row {
            Some(_) => self.idle.lend(value),
            None => bytes::Bytes::from_owner(value),
        };
        Tensor::new(dtype, shape, bytes).map_err(|e| e.to_string())
    }
}

impl Model for SessionModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, batch: &Batch) -> Result<Vec<Tensor>, EngineError> {
        let step = |range, rows| self.step(batch, range, rows);
        run_steps(self.signature.batch_mode, batch.rows, step)
            .map_err(|reason| EngineError::Run { engine: NAME, reason })
    }
}
