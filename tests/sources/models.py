"""Models whose answers name them: each multiplies by a number."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def times(factor: float, kilobytes: int = 64) -> bytes:
    """y = x * factor, for rows of one number, in a file of about that size."""
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
    # A detour that adds nothing: x @ 0 @ 0.
    width = kilobytes * 128
    constants = {
        "factor": np.array(factor, np.float32),
        "up": np.zeros((1, width), np.float32),
        "down": np.zeros((width, 1), np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("MatMul", ["x", "up"], ["wide"]),
        helper.make_node("MatMul", ["wide", "down"], ["nothing"]),
        helper.make_node("Add", ["scaled", "nothing"], ["y"]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "times", [value("x")], [value("y")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def put(root: Path, path: str, content: bytes) -> None:
    """A file below a directory, as a whole."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name("." + target.name)
    aside.write_bytes(content)
    aside.rename(target)
