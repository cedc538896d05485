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
use tract_onnx::Onnx;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, SymbolScope, ToDim, ensure};

use super::{
    About, Batch, BatchInput, BatchMode, Dim, Engine, EngineError, Found, LoadOptions, Model,
    ModelFile, Pace, Precision, Signature, TensorSpec,
};
use crate::tensor::{DType, Tensor as OurTensor};

const NAME: &str = "tract";

/// As Cargo.toml pins it.
const VERSION: &str = "0.23.9";

pub(super) struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> About {
        About {
            found: Found::Embedded,
            version: Some(VERSION.to_owned()),
            precisions: vec![Precision::F32],
            devices: vec!["CPU".to_owned()],
        }
    }

    fn signature_of(&self, file: &ModelFile<'_>) -> Option<Signature> {
        let typed = Parser::of(file).and_then(|parser| parser.parse()?.into_typed());
        signature(&typed.ok()?).ok()
    }

    fn load(
        &self,
        file: &ModelFile<'_>,
        options: &LoadOptions<'_>,
    ) -> Result<Arc<dyn Model>, EngineError> {
        options.refuse_others(NAME, &[Precision::F32])?;
        let loaded = TractModel::load(file, options.threads)
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
        let parser = Parser::of(file)?;
        let typed = parser.parse()?.into_typed()?;
        let signature = signature(&typed)?;
        let symbols = typed.symbols.clone();
        let one_row = |rows: usize| -> TractResult<Arc<TypedRunnableModel>> {
            let mut model = parser.parse()?;
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

    /// Node by node at a pace, if there is one.
    fn run_plan(&self, inputs: TVec<TValue>, pace: Option<&dyn Pace>) -> TractResult<TVec<TValue>> {
        let Some(pace) = pace else { return self.plan.run(inputs) };
        self.plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, inputs| {
            ensure!(pace.go_on(), GaveWay);
            tract_onnx::tract_core::plan::eval(context, state, node, inputs)
        })
    }

    fn run_at(
        &self,
        batch: &Batch,
        pace: Option<&dyn Pace>,
    ) -> Result<Vec<OurTensor>, EngineError> {
        multithread_tract_scope(self.executor.clone(), || match self.rows {
            Some(step) => self.run_rows(batch, step, pace),
            None => self.run_whole(batch, pace),
        })
        .map_err(|e| match e.is::<GaveWay>() {
            true => EngineError::GaveWay,
            false => EngineError::Run { engine: NAME, reason: one_line(&e) },
        })
    }

    fn run_rows(
        &self,
        batch: &Batch,
        step: usize,
        pace: Option<&dyn Pace>,
    ) -> TractResult<Vec<OurTensor>> {
        let mut chunks: Vec<Vec<OurTensor>> = vec![Vec::new(); self.signature.outputs.len()];
        let mut at = 0;
        while at < batch.rows {
            let end = batch.rows.min(at + step);
            let inputs = batch
                .inputs
                .iter()
                .map(|input| to_tract(input, at..end, step))
                .collect::<TractResult<TVec<TValue>>>()?;
            for (slot, output) in self.run_plan(inputs, pace)?.into_iter().enumerate() {
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

    fn run_whole(&self, batch: &Batch, pace: Option<&dyn Pace>) -> TractResult<Vec<OurTensor>> {
        let whole = |input: &BatchInput| {
            let mut tensor = zeroed(input.dtype, &input.shape)?;
            tensor.as_bytes_mut().copy_from_slice(&input.joined());
            Ok(tensor.into_tvalue())
        };
        let inputs = batch.inputs.iter().map(whole).collect::<TractResult<TVec<TValue>>>()?;
        self.run_plan(inputs, pace)?.into_iter().map(from_tract).collect()
    }
}

impl Model for TractModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, batch: &Batch) -> Result<Vec<OurTensor>, EngineError> {
        self.run_at(batch, None)
    }

    fn run_paced(&self, batch: &Batch, pace: &dyn Pace) -> Result<Vec<OurTensor>, EngineError> {
        self.run_at(batch, Some(pace))
    }
}

/// Why a paced run ended early.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("gave way")]
struct GaveWay;

/// A file that may be parsed more than once.
struct Parser<'a> {
    onnx: Onnx,
    proto: pb::ModelProto,
    dir: &'a str,
}

impl Parser<'_> {
    fn of<'a>(file: &ModelFile<'a>) -> TractResult<Parser<'a>> {
        let onnx = tract_onnx::onnx();
        let mut proto = onnx.proto_model_for_read(&mut &file.bytes[..])?;
        forget_intermediate_shapes(&mut proto);
        let dir = file.path.parent().and_then(|p| p.to_str()).unwrap_or(".");
        Ok(Parser { onnx, proto, dir })
    }

    fn parse(&self) -> TractResult<InferenceModel> {
        Ok(self.onnx.parse(&self.proto, Some(self.dir))?.model)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Lets so many steps pass.
    struct Steps(AtomicUsize);

    impl Pace for Steps {
        fn go_on(&self) -> bool {
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        }
    }

    #[test]
    fn a_paced_run_asks_before_each_node_and_gives_the_same() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("models/efficientnet_lite0/1/model.onnx");
        let bytes = std::fs::read(&path).unwrap().into();
        let file = ModelFile { path: &path, bytes };
        let model = Tract.load(&file, &LoadOptions::default()).unwrap();
        let shape = model.signature().inputs[0].shape.iter().skip(1);
        let dims = shape.map(|d| if let Dim::Fixed(n) = d { *n } else { panic!("{d:?}") });
        let dims: Vec<usize> = std::iter::once(2).chain(dims).collect();
        let pixels: Vec<f32> =
            (0..dims.iter().product()).map(|i| (i % 251) as f32 / 251.0).collect();
        let batch = Batch::of(&[OurTensor::from_f32(dims, &pixels).unwrap()]);
        let plain = model.run(&batch).unwrap();
        let plenty = Steps(AtomicUsize::new(100_000));
        assert_eq!(model.run_paced(&batch, &plenty).unwrap(), plain);
        let asked = 100_000 - plenty.0.into_inner();
        assert!(asked > 100, "asked {asked} times in two rows of a model with 60 layers");
        let few = Steps(AtomicUsize::new(asked - 1));
        assert!(matches!(model.run_paced(&batch, &few), Err(EngineError::GaveWay)));
    }
}
