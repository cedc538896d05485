//! A network that is run: rows into memory that is there already, and out of it again.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use openvino::{CompiledModel, InferRequest, Shape, Tensor as Memory};

use super::network::{dtype_of, element_of};
use super::{NAME, one_line};
use crate::engine::batch::run_steps;
use crate::engine::pool::Pool;
use crate::engine::{Batch, BatchInput, BatchMode, EngineError, Model, Signature};
use crate::tensor::{DType, Tensor};

/// Requests, lists of inputs, and buffers of each output, that wait for the next run.
const IDLE: usize = 16;

pub(super) struct CompiledNetwork {
    /// Makes requests.
    compiled: Mutex<CompiledModel>,
    signature: Signature,
    requests: Arc<Pool<InferRequest>>,
    /// Whole lists, since they go in together. Apart from the requests: those are as many as threads, and
    /// batches have more sizes than that.
    inputs: Arc<Pool<Vec<Buffer>>>,
    outputs: Vec<Output>,
}

/// Memory of OpenVINO's, aligned as it likes.
struct Buffer {
    memory: Memory,
    dtype: DType,
    shape: Vec<usize>,
}

/// Where an output is put.
struct Output {
    dtype: DType,
    /// The shape of a row, if it is the same for every run; else it is copied out of the request.
    row: Option<Vec<usize>>,
    idle: Arc<Pool<Buffer>>,
}

impl CompiledNetwork {
    pub fn new(compiled: CompiledModel, signature: Signature) -> CompiledNetwork {
        let by_rows = signature.batch_mode != BatchMode::Whole;
        let outputs = signature.outputs.iter().map(|spec| Output {
            dtype: spec.dtype,
            row: spec.row_shape().filter(|_| by_rows),
            idle: Pool::new(IDLE),
        });
        let outputs = outputs.collect();
        let (requests, inputs) = (Pool::new(IDLE), Pool::new(IDLE));
        let compiled = Mutex::new(compiled);
        CompiledNetwork { compiled, signature, requests, inputs, outputs }
    }

    /// Rows `range` of a batch as a run of `rows` rows.
    fn step(&self, batch: &Batch, range: Range<usize>, rows: usize) -> Result<Vec<Tensor>, String> {
        let mut infer = self.request()?;
        let mut inputs = self.inputs_for(batch, rows)?;
        for (at, (input, buffer)) in batch.inputs.iter().zip(&mut inputs).enumerate() {
            // A scalar is one row.
            let range = if input.shape.is_empty() { 0..1 } else { range.clone() };
            let bytes = buffer.memory.get_raw_data_mut().map_err(|e| one_line(&e))?;
            input.copy_rows(range, bytes);
            infer.set_input_tensor_by_index(at, &buffer.memory).map_err(|e| one_line(&e))?;
        }
        let mut bound = Vec::with_capacity(self.outputs.len());
        for (at, output) in self.outputs.iter().enumerate() {
            let buffer = output.buffer(rows)?;
            if let Some(buffer) = &buffer {
                let set = infer.set_output_tensor_by_index(at, &buffer.memory);
                set.map_err(|e| one_line(&e))?;
            }
            bound.push(buffer);
        }
        // A request that fails is not used again.
        infer.infer().map_err(|e| one_line(&e))?;
        self.inputs.give(inputs);
        let tensors = bound.into_iter().enumerate().map(|(at, buffer)| match buffer {
            Some(buffer) => self.outputs[at].tensor(buffer),
            None => copied(&infer, at),
        });
        let tensors = tensors.collect();
        self.requests.give(infer);
        tensors
    }

    fn request(&self) -> Result<InferRequest, String> {
        if let Some(idle) = self.requests.take(|_| true) {
            return Ok(idle);
        }
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.create_infer_request().map_err(|e| one_line(&e))
    }

    /// Inputs that have the batch's shapes.
    fn inputs_for(&self, batch: &Batch, rows: usize) -> Result<Vec<Buffer>, String> {
        let first = |shape: usize| {
            if self.signature.batch_mode == BatchMode::Whole { shape } else { rows }
        };
        let fits = |buffers: &Vec<Buffer>| {
            let mut pairs = buffers.iter().zip(&batch.inputs);
            pairs.all(|(buffer, input)| match &input.shape[..] {
                [] => buffer.dtype == input.dtype && buffer.shape.is_empty(),
                [len, row @ ..] => buffer.is_of(input.dtype, first(*len), row),
            })
        };
        if let Some(idle) = self.inputs.take(fits) {
            return Ok(idle);
        }
        let buffer = |input: &BatchInput| {
            let mut shape = input.shape.clone();
            if let Some(len) = shape.first_mut() {
                *len = first(*len);
            }
            Buffer::new(input.dtype, shape)
        };
        batch.inputs.iter().map(buffer).collect()
    }
}

impl Output {
    fn buffer(&self, rows: usize) -> Result<Option<Buffer>, String> {
        let Some(row) = &self.row else { return Ok(None) };
        if let Some(idle) = self.idle.take(|b| b.is_of(self.dtype, rows, row)) {
            return Ok(Some(idle));
        }
        let shape = std::iter::once(rows).chain(row.iter().copied()).collect();
        Buffer::new(self.dtype, shape).map(Some)
    }

    fn tensor(&self, buffer: Buffer) -> Result<Tensor, String> {
        let (dtype, shape) = (buffer.dtype, buffer.shape.clone());
        Tensor::new(dtype, shape, self.idle.lend(buffer)).map_err(|e| e.to_string())
    }
}

impl Buffer {
    fn new(dtype: DType, shape: Vec<usize>) -> Result<Buffer, String> {
        let element = element_of(dtype).ok_or_else(|| format!("there is no {dtype}"))?;
        let dims: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
        let memory = Shape::new(&dims).and_then(|dims| Memory::new(element, &dims));
        Ok(Buffer { memory: memory.map_err(|e| one_line(&e))?, dtype, shape })
    }

    fn is_of(&self, dtype: DType, rows: usize, row: &[usize]) -> bool {
        self.dtype == dtype && self.shape.split_first() == Some((&rows, row))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // It was written to a moment ago.
        self.memory.get_raw_data().unwrap_or(&[])
    }
}

/// An output whose shape only the run knows.
fn copied(infer: &InferRequest, at: usize) -> Result<Tensor, String> {
    let memory = infer.get_output_tensor_by_index(at).map_err(|e| one_line(&e))?;
    let element = memory.get_element_type().map_err(|e| one_line(&e))?;
    let dtype = dtype_of(element).ok_or_else(|| format!("output {at} has the type {element:?}"))?;
    let shape = memory.get_shape().map_err(|e| one_line(&e))?;
    let dims = shape.get_dimensions().iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
    let bytes = memory.get_raw_data().map_err(|e| one_line(&e))?;
    Tensor::new(dtype, dims, bytes::Bytes::copy_from_slice(bytes)).map_err(|e| e.to_string())
}

impl Model for CompiledNetwork {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, batch: &Batch) -> Result<Vec<Tensor>, EngineError> {
        let step = |range, rows| self.step(batch, range, rows);
        run_steps(self.signature.batch_mode, batch.rows, step)
            .map_err(|reason| EngineError::Run { engine: NAME, reason })
    }
}
