//! What a model file says of itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::tensor_shape_proto::dimension::Value as DimValue;
use super::proto::type_proto::Value as TypeValue;
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::engine::{Dim, TensorSpec};
use crate::tensor::DType;

/// Graphs within nodes within graphs, at most.
const MAX_DEPTH: usize = 32;

/// A model file's own account.
#[derive(Debug)]
pub struct Summary {
    /// Version of the file format.
    pub ir_version: i64,
    /// Who wrote it.
    pub producer: String,
    /// Operator sets by domain.
    pub opsets: BTreeMap<String, i64>,
    /// What goes in; initializers are not counted.
    pub inputs: Vec<TensorSpec>,
    /// What comes out.
    pub outputs: Vec<TensorSpec>,
    /// Operators and how often they occur, subgraphs included.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all weights.
    pub parameters: u64,
    /// Files beside the model that hold weights.
    pub external_data: BTreeSet<String>,
}

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// Not the protobuf it should be, or cut off.
    #[error("no ONNX file, or one cut off: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A model without a graph.
    #[error("no ONNX file: there is no graph in it")]
    NoGraph,
    /// An input or output that is no tensor of a known type.
    #[error("`{name}` has elements of type {elem_type}, which is not supported")]
    ElemType {
        /// Its name.
        name: String,
        /// The type's name in TensorProto.DataType, or its number if it has none.
        elem_type: String,
    },
    /// An input or output that is a sequence, a map, an optional or a sparse tensor.
    #[error("`{0}` is no tensor: sequences, maps, optionals and sparse tensors are not supported")]
    NoTensor(String),
    /// Dimensions of a weight that are negative, or too large for a file.
    #[error("the weight `{name}` has the shape {dims:?}, which no tensor can have")]
    Weight {
        /// Its name.
        name: String,
        /// The dimensions in the file.
        dims: Vec<i64>,
    },
}

impl Summary {
    /// Reads a whole file.
    pub fn read(bytes: Bytes) -> Result<Summary, OnnxError> {
        let model = ModelProto::decode(bytes)?;
        let graph = model.graph.as_ref().ok_or(OnnxError::NoGraph)?;
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|i| !weights.contains(i.name.as_str()));
        let mut summary = Summary {
            ir_version: model.ir_version,
            producer: format!("{} {}", model.producer_name, model.producer_version)
                .trim()
                .to_owned(),
            opsets: model.opset_import.iter().map(|o| (domain(&o.domain), o.version)).collect(),
            inputs: inputs.map(spec).collect::<Result<_, _>>()?,
            outputs: graph.output.iter().map(spec).collect::<Result<_, _>>()?,
            operators: BTreeMap::new(),
            parameters: 0,
            external_data: BTreeSet::new(),
        };
        summary.graph(graph, 0)?;
        model.functions.iter().try_for_each(|f| summary.nodes(&f.node, 0))?;
        Ok(summary)
    }

    /// Whether every input leads with a dimension that the caller chooses.
    pub fn has_dynamic_batch(&self) -> bool {
        !self.inputs.is_empty()
            && self.inputs.iter().all(|i| matches!(i.shape.first(), Some(Dim::Dynamic(_))))
    }

    fn graph(&mut self, graph: &GraphProto, depth: usize) -> Result<(), OnnxError> {
        graph.initializer.iter().try_for_each(|t| self.weight(t))?;
        self.nodes(&graph.node, depth)
    }

    fn nodes(&mut self, nodes: &[NodeProto], depth: usize) -> Result<(), OnnxError> {
        for node in nodes {
            let name = match node.domain.as_str() {
                "" | "ai.onnx" => node.op_type.clone(),
                domain => format!("{domain}.{}", node.op_type),
            };
            *self.operators.entry(name).or_default() += 1;
            for attribute in &node.attribute {
                attribute.t.iter().chain(&attribute.tensors).try_for_each(|t| self.weight(t))?;
                if depth < MAX_DEPTH {
                    let mut graphs = attribute.g.iter().chain(&attribute.graphs);
                    graphs.try_for_each(|g| self.graph(g, depth + 1))?;
                }
            }
        }
        Ok(())
    }

    /// Counts an initializer, or the tensor of a `Constant`.
    fn weight(&mut self, tensor: &TensorProto) -> Result<(), OnnxError> {
        let mut dims = tensor.dims.iter().map(|d| u64::try_from(*d).ok());
        let elements = dims.try_fold(1u64, |n, d| n.checked_mul(d?));
        let sum = elements.and_then(|n| self.parameters.checked_add(n));
        let (name, dims) = (&tensor.name, &tensor.dims);
        self.parameters =
            sum.ok_or_else(|| OnnxError::Weight { name: name.clone(), dims: dims.clone() })?;
        if tensor.data_location() == DataLocation::External {
            let files = tensor.external_data.iter().filter(|e| e.key == "location");
            self.external_data.extend(files.map(|e| e.value.clone()));
        }
        Ok(())
    }
}

fn domain(name: &str) -> String {
    if name.is_empty() { "ai.onnx".to_owned() } else { name.to_owned() }
}

fn spec(info: &ValueInfoProto) -> Result<TensorSpec, OnnxError> {
    let value = info.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(TypeValue::TensorType(tensor)) = value else {
        return Err(OnnxError::NoTensor(info.name.clone()));
    };
    let dtype = dtype(tensor.elem_type).map_err(|elem_type| {
        let name = info.name.clone();
        OnnxError::ElemType { name, elem_type }
    })?;
    let dims = tensor.shape.as_ref().map(|s| &s.dim[..]).unwrap_or_default();
    let dim = |value: &Option<DimValue>| match value {
        // Some exporters write -1 for a length they don't know.
        Some(DimValue::DimValue(n)) => {
            usize::try_from(*n).map_or_else(|_| Dim::Dynamic(String::new()), Dim::Fixed)
        }
        Some(DimValue::DimParam(name)) => Dim::Dynamic(name.clone()),
        None => Dim::Dynamic(String::new()),
    };
    let shape = dims.iter().map(|d| dim(&d.value)).collect();
    Ok(TensorSpec { name: info.name.clone(), dtype, shape })
}

/// An element type as ours, or else its name.
fn dtype(elem_type: i32) -> Result<DType, String> {
    let named = DataType::try_from(elem_type).map_err(|_| elem_type.to_string())?;
    Ok(match named {
        DataType::Float => DType::F32,
        DataType::Uint8 => DType::U8,
        DataType::Int8 => DType::I8,
        DataType::Uint16 => DType::U16,
        DataType::Int16 => DType::I16,
        DataType::Int32 => DType::I32,
        DataType::Int64 => DType::I64,
        DataType::String => DType::Bytes,
        DataType::Bool => DType::Bool,
        DataType::Float16 => DType::F16,
        DataType::Double => DType::F64,
        DataType::Uint32 => DType::U32,
        DataType::Uint64 => DType::U64,
        DataType::Bfloat16 => DType::BF16,
        other => return Err(other.as_str_name().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::proto::tensor_shape_proto::Dimension;
    use super::super::proto::{
        AttributeProto, StringStringEntryProto, TensorShapeProto, TypeProto, type_proto,
    };
    use super::*;

    #[test]
    fn reads_the_demo_model() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/efficientnet_lite0/1/model.onnx");
        let s = Summary::read(Bytes::from(std::fs::read(path).unwrap())).unwrap();
        assert_eq!(s.inputs[0].to_string(), "input FP32 [batch,3,224,224]");
        assert_eq!(s.outputs[0].to_string(), "logits FP32 [batch,1000]");
        assert_eq!((s.operators["Conv"], s.opsets["ai.onnx"]), (49, 17));
        assert!(s.has_dynamic_batch() && s.parameters > 4_600_000);
    }

    #[test]
    fn tells_a_truncated_file_from_a_model() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/efficientnet_lite0/1/model.onnx");
        let bytes = Bytes::from(std::fs::read(path).unwrap());
        assert!(matches!(Summary::read(bytes.slice(..1 << 20)), Err(OnnxError::Decode(_))));
        assert!(matches!(Summary::read(Bytes::new()), Err(OnnxError::NoGraph)));
    }

    fn model(inputs: Vec<ValueInfoProto>, graph: GraphProto) -> Result<Summary, OnnxError> {
        let graph = GraphProto { input: inputs, ..graph };
        let model = ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() };
        Summary::read(Bytes::from(model.encode_to_vec()))
    }

    fn input(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
        let dim = |n: &i64| Dimension { value: Some(DimValue::DimValue(*n)), ..Default::default() };
        let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
        let value = Some(TypeValue::TensorType(type_proto::Tensor { elem_type, shape }));
        let r#type = Some(TypeProto { value, ..Default::default() });
        ValueInfoProto { name: name.into(), r#type, ..Default::default() }
    }

    fn weight(name: &str, dims: &[i64]) -> TensorProto {
        TensorProto { name: name.into(), dims: dims.to_vec(), data_type: 1, ..Default::default() }
    }

    #[test]
    fn an_initializer_is_no_input_and_an_unknown_length_is_dynamic() {
        let graph = GraphProto { initializer: vec![weight("w", &[3, 4])], ..Default::default() };
        let summary = model(vec![input("x", 1, &[-1, 3]), input("w", 1, &[3, 4])], graph).unwrap();
        assert_eq!(summary.inputs.len(), 1);
        assert_eq!(summary.inputs[0].to_string(), "x FP32 [?,3]");
        assert_eq!(summary.parameters, 12);
    }

    #[test]
    fn counts_what_stands_in_subgraphs_and_names_other_domains() {
        let inner = GraphProto {
            node: vec![NodeProto { op_type: "Relu".into(), ..Default::default() }],
            initializer: vec![weight("w", &[5])],
            ..Default::default()
        };
        let branch = AttributeProto { g: Some(inner), ..Default::default() };
        let outer =
            NodeProto { op_type: "If".into(), attribute: vec![branch], ..Default::default() };
        let own =
            NodeProto { op_type: "Relu".into(), domain: "com.x".into(), ..Default::default() };
        let mut far = weight("far", &[2]);
        far.set_data_location(DataLocation::External);
        let location =
            StringStringEntryProto { key: "location".into(), value: "model.data".into() };
        far.external_data = vec![location];
        let node = vec![outer, own];
        let graph = GraphProto { node, initializer: vec![far], ..Default::default() };
        let summary = model(vec![], graph).unwrap();
        let counts: Vec<_> = summary.operators.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        assert_eq!(counts, [("If", 1), ("Relu", 1), ("com.x.Relu", 1)]);
        assert_eq!(summary.parameters, 7);
        assert_eq!(summary.external_data.iter().collect::<Vec<_>>(), ["model.data"]);
    }

    #[track_caller]
    fn check_refused(inputs: Vec<ValueInfoProto>, initializer: Vec<TensorProto>, expected: &str) {
        let graph = GraphProto { initializer, ..Default::default() };
        assert_eq!(model(inputs, graph).unwrap_err().to_string(), expected);
    }

    #[test]
    fn refuses_what_it_can_not_serve_by_name() {
        let unsupported = "`x` has elements of type COMPLEX64, which is not supported";
        check_refused(vec![input("x", 14, &[1])], vec![], unsupported);
        let unknown = "`x` has elements of type 99, which is not supported";
        check_refused(vec![input("x", 99, &[1])], vec![], unknown);
        let no_tensor =
            "`s` is no tensor: sequences, maps, optionals and sparse tensors are not supported";
        check_refused(
            vec![ValueInfoProto { name: "s".into(), ..Default::default() }],
            vec![],
            no_tensor,
        );
        let huge = vec![weight("w", &[i64::MAX, 3])];
        let expected =
            "the weight `w` has the shape [9223372036854775807, 3], which no tensor can have";
        check_refused(vec![], huge, expected);
    }

    #[test]
    fn garbage_is_no_model() {
        for garbage in [&b"\xff\xff\xff\xff"[..], b"not a model at all", &[0; 64]] {
            assert!(Summary::read(Bytes::from_static(garbage)).is_err(), "{garbage:?}");
        }
    }
}
