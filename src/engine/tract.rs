//! The embedded engine: tract, pure Rust, no system library. The only file that names it.
//!
//! A model with a dynamic batch is compiled for one row and a batch is run row by row. Measured
//! on EfficientNet-Lite0 (tract 0.23, one thread): 28 ms a row so, 59 ms a row compiled for four
//! rows, 167 ms a row with the batch left symbolic, because tract's depthwise kernels are chosen
//! when all dimensions are known.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, SymbolScope, ToDim, ensure};

use super::{
    Batch, BatchInput, BatchMode, Dim, Engine, EngineError, Model, ModelFile, Signature, TensorSpec,
};
use crate::tensor::{DType, Tensor as OurTensor};

const NAME: &str = "tract";

pub(super) struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, file: &ModelFile<'_>, threads: usize) -> Result<Arc<dyn Model>, EngineError> {
        let loaded = TractModel::load(file, threads)
            .map_err(|e| EngineError::Load { engine: NAME, reason: one_line(&e) })?;
        Ok(Arc::new(loaded))
    }
}

struct TractModel {
    signature: Signature,
    plan: Arc<TypedRunnableModel>,
    /// What the plan's symbolic dimensions are symbols of: it goes when its last holder does.
    _symbols: SymbolScope,
    /// Rows the plan was compiled for; `None` runs a request whole, whatever its shape.
    rows: Option<usize>,
    executor: Executor,
}

impl TractModel {
    fn load(file: &ModelFile<'_>, threads: usize) -> TractResult<TractModel> {
        let onnx = tract_onnx::onnx();
        let mut proto = onnx.proto_model_for_read(&mut &file.bytes[..])?;
        forget_intermediate_shapes(&mut proto);
        let dir = file.path.parent().and_then(|p| p.to_str()).unwrap_or(".");
        let parse = || -> TractResult<InferenceModel> { Ok(onnx.parse(&proto, Some(dir))?.model) };
        let typed = parse()?.into_typed()?;
        let signature = signature(&typed)?;
        let symbols = typed.symbols.clone();
        let one_row = |rows: usize| -> TractResult<Arc<TypedRunnableModel>> {
            let mut model = parse()?;
            for i in 0..model.inputs.len() {
                let mut fact = typed.input_fact(i)?.clone();
                fact.shape.set(0, rows.to_dim());
                model.set_input_fact(i, InferenceFact::from(&fact))?;
            }
            model.into_typed()?.into_optimized()?.into_runnable()
        };
        let (plan, rows) = match signature.batch_mode {
            BatchMode::Rows => (one_row(1)?, Some(1)),
            BatchMode::Fixed(n) => (typed.into_optimized()?.into_runnable()?, Some(n)),
            BatchMode::Whole => (typed.into_optimized()?.into_runnable()?, None),
        };
        let executor = match threads {
            0 | 1 => Executor::SingleThread,
            n => Executor::multithread_with_name(n, "ocelli-intra"),
        };
        Ok(TractModel { signature, plan, _symbols: symbols, rows, executor })
    }

    fn run_rows(&self, batch: &Batch, step: usize) -> TractResult<Vec<OurTensor>> {
        let mut chunks: Vec<Vec<OurTensor>> = vec![Vec::new(); self.signature.outputs.len()];
        let mut at = 0;
        while at < batch.rows {
            let end = batch.rows.min(at + step);
            let inputs = batch
                .inputs
                .iter()
                .map(|input| to_tract(input, at..end, step))
                .collect::<TractResult<TVec<TValue>>>()?;
            for (slot, output) in self.plan.run(inputs)?.into_iter().enumerate() {
                let output = from_tract(output)?;
                ensure!(
                    output.rows() == step,
                    "output {slot} has {} rows, not {step}",
                    output.rows()
                );
                chunks[slot].push(output.slice_rows(0..end - at));
            }
            at = end;
        }
        chunks
            .iter()
            .map(|c| OurTensor::concat_rows(c).context("outputs of one batch differ in shape"))
            .collect()
    }

    fn run_whole(&self, batch: &Batch) -> TractResult<Vec<OurTensor>> {
        let whole = |input: &BatchInput| {
            let mut tensor = zeroed(input.dtype, &input.shape)?;
            tensor.as_bytes_mut().copy_from_slice(&input.joined());
            Ok(tensor.into_tvalue())
        };
        let inputs = batch.inputs.iter().map(whole).collect::<TractResult<TVec<TValue>>>()?;
        self.plan.run(inputs)?.into_iter().map(from_tract).collect()
    }
}

impl Model for TractModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, batch: &Batch) -> Result<Vec<OurTensor>, EngineError> {
        multithread_tract_scope(self.executor.clone(), || match self.rows {
            Some(step) => self.run_rows(batch, step),
            None => self.run_whole(batch),
        })
        .map_err(|e| EngineError::Run { engine: NAME, reason: one_line(&e) })
    }
}

/// Some exporters pin every intermediate value to the batch they traced with. tract would hold
/// them against a symbolic batch; all of them can be inferred, so they are dropped.
fn forget_intermediate_shapes(proto: &mut pb::ModelProto) {
    if let Some(graph) = proto.graph.as_mut() {
        graph.value_info.clear();
    }
}

fn signature(model: &TypedModel) -> TractResult<Signature> {
    let spec = |outlet: &OutletId, name: String| -> TractResult<TensorSpec> {
        let fact = model.outlet_fact(*outlet)?;
        let dtype = dtype_of(fact.datum_type)
            .with_context(|| format!("{name} has the unsupported type {:?}", fact.datum_type))?;
        let dim = |d: &TDim| match d.to_usize() {
            Ok(n) => Dim::Fixed(n),
            Err(_) => Dim::Dynamic(d.to_string()),
        };
        Ok(TensorSpec { name, dtype, shape: fact.shape.iter().map(dim).collect() })
    };
    let node_name = |o: &OutletId| model.node(o.node).name.clone();
    let inputs = model
        .input_outlets()?
        .iter()
        .map(|o| spec(o, node_name(o)))
        .collect::<TractResult<Vec<_>>>()?;
    let outputs = model
        .output_outlets()?
        .iter()
        .map(|o| {
            let label = model.outlet_label(*o).map(str::to_owned);
            spec(o, label.unwrap_or_else(|| node_name(o)))
        })
        .collect::<TractResult<Vec<_>>>()?;
    Ok(Signature::new(inputs, outputs))
}

/// Rows `rows` of an input in tract's memory, padded to `step` rows: the one copy.
fn to_tract(input: &BatchInput, rows: std::ops::Range<usize>, step: usize) -> TractResult<TValue> {
    let mut shape = input.shape.clone();
    shape[0] = step;
    let mut tensor = zeroed(input.dtype, &shape)?;
    input.copy_rows(rows, tensor.as_bytes_mut());
    Ok(tensor.into_tvalue())
}

fn zeroed(dtype: DType, shape: &[usize]) -> TractResult<Tensor> {
    let dt = datum_of(dtype).with_context(|| format!("tract has no {dtype}"))?;
    Tensor::zero_dt(dt, shape)
}

/// Keeps tract's buffer alive for as long as a slice of it is on its way out.
struct Owner(Arc<Tensor>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn from_tract(value: TValue) -> TractResult<OurTensor> {
    let tensor = value.into_arc_tensor();
    let dtype = dtype_of(tensor.datum_type())
        .with_context(|| format!("unsupported output type {:?}", tensor.datum_type()))?;
    let shape = tensor.shape().to_vec();
    Ok(OurTensor::new(dtype, shape, Bytes::from_owner(Owner(tensor)))?)
}

const TYPES: [(DType, fn() -> DatumType); 12] = [
    (DType::Bool, bool::datum_type),
    (DType::U8, u8::datum_type),
    (DType::U16, u16::datum_type),
    (DType::U32, u32::datum_type),
    (DType::U64, u64::datum_type),
    (DType::I8, i8::datum_type),
    (DType::I16, i16::datum_type),
    (DType::I32, i32::datum_type),
    (DType::I64, i64::datum_type),
    (DType::F16, f16::datum_type),
    (DType::F32, f32::datum_type),
    (DType::F64, f64::datum_type),
];

fn datum_of(dtype: DType) -> Option<DatumType> {
    TYPES.iter().find(|(d, _)| *d == dtype).map(|(_, t)| t())
}

fn dtype_of(datum: DatumType) -> Option<DType> {
    TYPES.iter().find(|(_, t)| t() == datum.unquantized()).map(|(d, _)| *d)
}

fn one_line(error: &TractError) -> String {
    error.chain().map(|c| c.to_string().replace('\n', " ")).collect::<Vec<_>>().join(": ")
}
