//! A network from a model file, compiled for the CPU, and what it says of its inputs and outputs.

use std::sync::PoisonError;

use openvino::{
    CompiledModel, Core, DeviceType, ElementType, InferenceError, Model, Node, RwPropertyKey,
};

use super::library::Runtime;
use super::one_line;
use crate::engine::{Dim, LoadOptions, ModelFile, Precision, Signature, TensorSpec};
use crate::tensor::DType;

/// Compiles a network. The dimensions of its signature have no names: OpenVINO doesn't keep them.
pub(super) fn compile(
    runtime: &Runtime,
    file: &ModelFile<'_>,
    options: &LoadOptions<'_>,
) -> Result<(CompiledModel, Signature), String> {
    let mut core = runtime.core.lock().unwrap_or_else(PoisonError::into_inner);
    let model = read(&mut core, file)?;
    let instances = options.instances.max(1);
    let precision = hint(options.precision);
    let properties = [
        (RwPropertyKey::HintInferencePrecision, precision.to_owned()),
        (RwPropertyKey::NumStreams, instances.to_string()),
        (RwPropertyKey::InferenceNumThreads, (instances * options.threads.max(1)).to_string()),
        // The kernel knows of this process's other threads, and of other processes.
        (RwPropertyKey::HintEnableCpuPinning, "NO".to_owned()),
    ];
    for (key, value) in properties {
        core.set_property(&DeviceType::CPU, &key, &value)
            .map_err(|e| format!("{}={value}: {}", key.as_ref(), one_line(&e)))?;
    }
    let told = |e: InferenceError| one_line(&e);
    let compiled = core.compile_model(&model, DeviceType::CPU).map_err(told)?;
    let holds =
        compiled.get_property(&RwPropertyKey::HintInferencePrecision.into()).map_err(told)?;
    if holds != precision {
        return Err(format!("it computes in {holds}, though it was told {precision}"));
    }
    drop(holds);
    let signature = signature(&compiled)?;
    Ok((compiled, signature))
}

const fn hint(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

/// What was hashed is what is read, unless the weights lie in files of their own or the format is one that it
/// only reads from a file: those it finds by the path.
fn read(core: &mut Core, file: &ModelFile<'_>) -> Result<Model, String> {
    let by_path = || file.path.to_str().ok_or("its path is no UTF-8").map_err(str::to_owned);
    match core.read_model_from_buffer(&file.bytes, None) {
        Ok(model) => Ok(model),
        Err(error) => core
            .read_model_from_file(by_path()?, "")
            // The first error is about the model, the second perhaps about the path only.
            .map_err(|_| one_line(&error)),
    }
}

/// Of what was compiled and not of what was read: the crate (0.11) does not free the ports it is asked for, and one
/// of the model as it was read keeps all its weights.
fn signature(compiled: &CompiledModel) -> Result<Signature, String> {
    let told = |e: InferenceError| one_line(&e);
    let inputs = (0..compiled.get_input_size().map_err(told)?)
        .map(|i| spec(&compiled.get_input_by_index(i).map_err(told)?, "input", i));
    let outputs = (0..compiled.get_output_size().map_err(told)?)
        .map(|i| spec(&compiled.get_output_by_index(i).map_err(told)?, "output", i));
    Ok(Signature::new(inputs.collect::<Result<_, _>>()?, outputs.collect::<Result<_, _>>()?))
}

fn spec(node: &Node, kind: &str, at: usize) -> Result<TensorSpec, String> {
    // An output that the file gives no name gets one here.
    let name = node.get_name().unwrap_or_else(|_| format!("{kind}_{at}"));
    let told = |e: InferenceError| format!("{name}: {}", one_line(&e));
    let element = node.get_element_type().map_err(told)?;
    let dtype =
        dtype_of(element).ok_or_else(|| format!("{name} has the unsupported type {element:?}"))?;
    let shape = node.get_partial_shape().map_err(told)?;
    if shape.get_rank().is_dynamic() {
        return Err(format!("{name} may have any number of dimensions"));
    }
    let dim = |d: &openvino::Dimension| match usize::try_from(d.get_min()) {
        Ok(len) if d.get_min() == d.get_max() => Dim::Fixed(len),
        _ => Dim::Dynamic(String::new()),
    };
    let shape = shape.get_dimensions().iter().map(dim).collect();
    Ok(TensorSpec { name, dtype, shape })
}

const TYPES: [(DType, ElementType); 13] = [
    (DType::Bool, ElementType::Boolean),
    (DType::U8, ElementType::U8),
    (DType::U16, ElementType::U16),
    (DType::U32, ElementType::U32),
    (DType::U64, ElementType::U64),
    (DType::I8, ElementType::I8),
    (DType::I16, ElementType::I16),
    (DType::I32, ElementType::I32),
    (DType::I64, ElementType::I64),
    (DType::F16, ElementType::F16),
    (DType::BF16, ElementType::Bf16),
    (DType::F32, ElementType::F32),
    (DType::F64, ElementType::F64),
];

/// Byte strings are none of its numbers.
pub(super) fn element_of(dtype: DType) -> Option<ElementType> {
    TYPES.iter().find(|(d, _)| *d == dtype).map(|(_, e)| *e)
}

pub(super) fn dtype_of(element: ElementType) -> Option<DType> {
    TYPES.iter().find(|(_, e)| *e == element).map(|(d, _)| *d)
}
