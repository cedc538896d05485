//! A session from a model file, and what it says of its inputs and outputs.

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, ValueType};

use crate::engine::{Dim, LoadOptions, ModelFile, Signature, TensorSpec};
use crate::tensor::DType;

/// Where weights in files of their own lie.
const EXTERNAL: &str = "session.model_external_initializers_file_folder_path";

pub(super) fn build(
    environment: &Environment,
    file: &ModelFile<'_>,
    options: &LoadOptions<'_>,
) -> ort::Result<Session> {
    let folder = file.path.parent().map(|p| p.to_string_lossy().into_owned());
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.threads.max(1))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_config_entry(EXTERNAL, folder.as_deref().filter(|f| !f.is_empty()).unwrap_or("."))?
        .commit_from_memory(&file.bytes)
}

/// As declared in the file: dimensions keep their names.
pub(super) fn signature(session: &Session) -> Result<Signature, String> {
    let specs = |outlets: &[Outlet]| outlets.iter().map(spec).collect::<Result<Vec<_>, _>>();
    Ok(Signature::new(specs(session.inputs())?, specs(session.outputs())?))
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, String> {
    let name = outlet.name().to_owned();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(format!("{name} is no tensor"));
    };
    let dtype = dtype_of(*ty).ok_or_else(|| format!("{name} has the unsupported type {ty:?}"))?;
    let dims = shape.iter().zip(dimension_symbols.iter());
    let dim = |(len, symbol): (&i64, &String)| match usize::try_from(*len) {
        Ok(len) => Dim::Fixed(len),
        Err(_) => Dim::Dynamic(symbol.clone()),
    };
    Ok(TensorSpec { name, dtype, shape: dims.map(dim).collect() })
}

const TYPES: [(DType, TensorElementType); 13] = [
    (DType::Bool, TensorElementType::Bool),
    (DType::U8, TensorElementType::Uint8),
    (DType::U16, TensorElementType::Uint16),
    (DType::U32, TensorElementType::Uint32),
    (DType::U64, TensorElementType::Uint64),
    (DType::I8, TensorElementType::Int8),
    (DType::I16, TensorElementType::Int16),
    (DType::I32, TensorElementType::Int32),
    (DType::I64, TensorElementType::Int64),
    (DType::F16, TensorElementType::Float16),
    (DType::BF16, TensorElementType::Bfloat16),
    (DType::F32, TensorElementType::Float32),
    (DType::F64, TensorElementType::Float64),
];

/// Byte strings are none of its numbers.
pub(super) fn element_of(dtype: DType) -> Option<TensorElementType> {
    TYPES.iter().find(|(d, _)| *d == dtype).map(|(_, e)| *e)
}

pub(super) fn dtype_of(element: TensorElementType) -> Option<DType> {
    TYPES.iter().find(|(_, e)| *e == element).map(|(d, _)| *d)
}
