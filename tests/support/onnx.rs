//! Tiny ONNX models, built in memory (docs/IR.md and docs/Operators.md of github.com/onnx/onnx):
//! one for each way a model can batch, small enough to compute by hand.

#![allow(dead_code, reason = "not every test uses every model")]

use ocelli::onnx::proto::attribute_proto::AttributeType;
use ocelli::onnx::proto::tensor_proto::DataType;
use ocelli::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use ocelli::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use prost::Message;

/// A dimension.
#[derive(Clone, Copy)]
pub enum D {
    /// Of this length.
    N(i64),
    /// Named, and of any length.
    S(&'static str),
}

const BATCH: D = D::S("batch");

/// `y = x`.
pub fn identity(name: &str, dims: &[D]) -> Vec<u8> {
    model(GraphProto {
        name: name.to_owned(),
        node: vec![node("Identity", &["x"], &["y"])],
        input: vec![value("x", dims)],
        output: vec![value("y", dims)],
        ..GraphProto::default()
    })
}

/// `y = x · w`: `[batch, inputs]` to `[batch, outputs]`, `w` row by row.
pub fn affine(inputs: i64, outputs: i64, w: &[f32]) -> Vec<u8> {
    model(GraphProto {
        name: "affine".to_owned(),
        node: vec![node("MatMul", &["x", "w"], &["y"])],
        initializer: vec![floats("w", &[inputs, outputs], w)],
        input: vec![value("x", &[BATCH, D::N(inputs)])],
        output: vec![value("y", &[BATCH, D::N(outputs)])],
        ..GraphProto::default()
    })
}

/// `y` is the sum of `x`'s rows: `[batch, n]` to `[n]`, an output without the batch.
pub fn column_sums(n: i64) -> Vec<u8> {
    let sum = node("ReduceSum", &["x", "axes"], &["y"]);
    model(GraphProto {
        name: "column_sums".to_owned(),
        node: vec![with_ints(sum, &[("keepdims", &[0])])],
        initializer: vec![ints("axes", &[0])],
        input: vec![value("x", &[BATCH, D::N(n)])],
        output: vec![value("y", &[D::N(n)])],
        ..GraphProto::default()
    })
}

/// `y = max(x, 0)` of one row at a time: `[1, n]`.
pub fn relu_of_one(n: i64) -> Vec<u8> {
    model(GraphProto {
        name: "relu_of_one".to_owned(),
        node: vec![node("Relu", &["x"], &["y"])],
        input: vec![value("x", &[D::N(1), D::N(n)])],
        output: vec![value("y", &[D::N(1), D::N(n)])],
        ..GraphProto::default()
    })
}

/// `y` is the determinant of each `x`: `[batch, n, n]` to `[batch]`. The embedded engine has no such operator.
pub fn determinants(n: i64) -> Vec<u8> {
    model(GraphProto {
        name: "determinants".to_owned(),
        node: vec![node("Det", &["x"], &["y"])],
        input: vec![value("x", &[BATCH, D::N(n), D::N(n)])],
        output: vec![value("y", &[BATCH])],
        ..GraphProto::default()
    })
}

/// `sum = a + b` and `difference = a - b`, all `[batch, n]`.
pub fn sum_and_difference(n: i64) -> Vec<u8> {
    let all = |names: [&str; 2]| names.map(|name| value(name, &[BATCH, D::N(n)])).to_vec();
    model(GraphProto {
        name: "sum_and_difference".to_owned(),
        node: vec![node("Add", &["a", "b"], &["sum"]), node("Sub", &["a", "b"], &["difference"])],
        input: all(["a", "b"]),
        output: all(["sum", "difference"]),
        ..GraphProto::default()
    })
}

/// A detector that finds the same in every image `[batch, 3, side, side]`: `boxes` of four
/// numbers as `[batch, n, 4]`, and `scores` of as many `classes` each as `[batch, n, classes]`.
pub fn detector(side: i64, boxes: &[[f32; 4]], classes: i64, scores: &[f32]) -> Vec<u8> {
    let n = boxes.len() as i64;
    let mean = |from, to, axes: &[i64], keep| {
        with_ints(node("ReduceMean", &[from], &[to]), &[("axes", axes), ("keepdims", &[keep])])
    };
    model(GraphProto {
        name: "detector".to_owned(),
        node: vec![
            // A zero an image, which gives the constants their batch.
            mean("image", "grey", &[1], 0),
            mean("grey", "mean", &[1, 2], 1),
            node("Mul", &["mean", "zero"], &["nothing"]),
            node("Add", &["nothing", "all_boxes"], &["boxes"]),
            node("Add", &["nothing", "all_scores"], &["scores"]),
        ],
        initializer: vec![
            floats("zero", &[1], &[0.0]),
            floats("all_boxes", &[1, n, 4], boxes.as_flattened()),
            floats("all_scores", &[1, n, classes], scores),
        ],
        input: vec![value("image", &[BATCH, D::N(3), D::N(side), D::N(side)])],
        output: vec![
            value("boxes", &[BATCH, D::N(n), D::N(4)]),
            value("scores", &[BATCH, D::N(n), D::N(classes)]),
        ],
        ..GraphProto::default()
    })
}

fn model(graph: GraphProto) -> Vec<u8> {
    let model = ModelProto {
        ir_version: 8,
        producer_name: "ocelli-tests".to_owned(),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        name: output.join("_"),
        input: input.iter().map(|s| (*s).to_owned()).collect(),
        output: output.iter().map(|s| (*s).to_owned()).collect(),
        ..NodeProto::default()
    }
}

/// `keepdims` is an integer, every other attribute a list.
fn with_ints(node: NodeProto, attributes: &[(&str, &[i64])]) -> NodeProto {
    let attribute = |(name, values): &(&str, &[i64])| {
        let mut attribute = AttributeProto { name: (*name).to_owned(), ..Default::default() };
        match (*name, values) {
            ("keepdims", [only]) => {
                attribute.set_type(AttributeType::Int);
                attribute.i = *only;
            }
            _ => {
                attribute.set_type(AttributeType::Ints);
                attribute.ints = values.to_vec();
            }
        }
        attribute
    };
    NodeProto { attribute: attributes.iter().map(attribute).collect(), ..node }
}

fn value(name: &str, dims: &[D]) -> ValueInfoProto {
    let dim = |d: &D| {
        let value = match d {
            D::N(n) => dimension::Value::DimValue(*n),
            D::S(name) => dimension::Value::DimParam((*name).to_owned()),
        };
        Dimension { value: Some(value), ..Dimension::default() }
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape };
    let value = Some(type_proto::Value::TensorType(tensor));
    let r#type = Some(TypeProto { value, ..TypeProto::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    tensor(name, DataType::Float, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, DataType::Int64, &[values.len() as i64], data)
}

fn tensor(name: &str, data_type: DataType, dims: &[i64], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: data_type as i32,
        dims: dims.to_vec(),
        raw_data: raw_data.into(),
        ..TensorProto::default()
    }
}
