"""Makes the model repository that the clients are driven against: tiny models, and the demo model.

Every model's values can be worked out by onnxruntime from the very file that is served.
"""

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
LITE0 = "efficientnet_lite0"
LABELS = ["ant", "bee", "cat", "dog", "elk"]

# Protocol datatype -> (ONNX element type, numpy type), of all that numpy has.
DTYPES = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
}


def extremes(datatype: str) -> np.ndarray:
    """Two rows of three with the ends of the type's range, where a wrong width or sign shows."""
    dtype = DTYPES[datatype][1]
    if dtype is np.bool_:
        return np.array([[True, False, True], [False, False, True]])
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.array([[info.min, info.max, 1], [0, info.max - 1, 7]], dtype=dtype)
    info = np.finfo(dtype)
    return np.array([[info.min, info.max, info.tiny], [-0.0, 1 / 3, 1e-3]], dtype=dtype)


def value(name: str, shape: list, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def write(models: Path, name: str, version: int, nodes, inputs, outputs, constants=None, toml=""):
    weights = [
        numpy_helper.from_array(np.array(number, dtype=np.float32), constant)
        for constant, number in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    onnx.save(model, directory / "model.onnx")
    if toml:
        (models / name / "model.toml").write_text(toml)


def affine(
    models: Path, name: str, version: int, shape: list, factor: float, offset: float, toml=""
):
    """y = factor * x + offset"""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["y"]),
    ]
    constants = {"factor": factor, "offset": offset}
    write(models, name, version, nodes, [value("x", shape)], [value("y", shape)], constants, toml)


def make(models: Path) -> None:
    """Fills the empty directory `models`."""
    shutil.copytree(ROOT / "models" / LITE0, models / LITE0)

    both = "[versions]\nall = true\n\n[labels]\nstable = 1\ncanary = 2\n"
    affine(models, "affine", 1, ["batch", 4], 2, 1)
    affine(models, "affine", 2, ["batch", 4], 3, -1, both)
    affine(models, "single", 1, [1, 3], 3, -1)
    affine(models, "reloaded", 1, ["batch", 2], 5, 0)
    affine(models, "scalar", 1, ["batch", 1], 10, 1)

    for datatype, (element, _) in DTYPES.items():
        tensors = [value("x", ["batch", 3], element)], [value("y", ["batch", 3], element)]
        identity = [helper.make_node("Identity", ["x"], ["y"])]
        write(models, f"identity_{datatype.lower()}", 1, identity, *tensors)

    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    row = ["batch", 3]
    outputs = [value("sum", row), value("difference", row)]
    write(models, "pair", 1, nodes, [value("a", row), value("b", row)], outputs)

    ranked = '[output]\nkind = "classification"\nlabels = "labels.txt"\ntop_k = 5\n'
    affine(models, "ranked", 1, ["batch", 5], 1, 0, ranked)
    (models / "ranked" / "labels.txt").write_text("\n".join(LABELS) + "\n")
