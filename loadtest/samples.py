#!/usr/bin/env python3
"""Models and requests to measure with. Needs what peers/raw.txt pins.

    samples.py DIR        writes all of them
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

BOUNDARY = "of-a-form"
# Of V2's JSON before a binary tensor; it is padded to that.
HEADER = 256


def save(root: Path, name: str, shape: list, nodes: list, constants: list, out: list) -> None:
    """A model of x and y, as version 1 of a repository's model."""
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, name, [value("x", shape)], [value("y", out)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (root / name / "1").mkdir(parents=True, exist_ok=True)
    onnx.save(model, root / name / "1/model.onnx")


def tiny(root: Path) -> None:
    """A product with a matrix of 16 x 16, and a ReLU."""
    weights = numpy_helper.from_array(np.eye(16, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    save(root, "tiny", ["n", 16], nodes, [weights], ["n", 16])


def mean(root: Path) -> None:
    """As large an input as the demo model's, and next to nothing to compute."""
    pool = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    save(root, "mean", ["n", 3, 224, 224], [pool], [], ["n", 3, 1, 1])


def row() -> np.ndarray:
    return np.arange(16, dtype=np.float32)[None] / 16


def message(model: str, name: str, x: np.ndarray) -> bytes:
    """A ModelInferRequest with one raw FP32 input (proto/inference.proto)."""

    def varint(n: int) -> bytes:
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    shape = b"".join(map(varint, x.shape))
    tensor = field(1, name.encode()) + field(2, b"FP32") + field(3, shape)
    return field(1, model.encode()) + field(5, tensor) + field(7, x.tobytes())


def binary(input: str, x: np.ndarray) -> bytes:
    """V2's request with its one tensor in binary, and the answer's too."""
    tensor = {"name": input, "datatype": "FP32", "shape": list(x.shape)}
    tensor["parameters"] = {"binary_data_size": x.nbytes}
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    return json.dumps(asked).encode().ljust(HEADER) + x.tobytes()


def form(file: bytes) -> bytes:
    """A form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return (head + kind).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def photo(source: Path, size: int = 500_000) -> bytes:
    """As many bytes as a telephone's photo, of 1600 x 1064 points with the grain of one."""
    small = Image.open(source).convert("RGB")
    large = np.asarray(small.resize((1600, 1064), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(1).normal(0, 6, large.shape)
    picture = Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))

    def encoded(quality: int) -> bytes:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality)
        return out.getvalue()

    return min((encoded(quality) for quality in range(60, 96)), key=lambda e: abs(len(e) - size))


def requests(out: Path, name: str, input: str, x: np.ndarray) -> None:
    """A tensor in every form in which somebody is asked."""
    tensor = {"name": input, "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
    (out / f"{name}.v1.json").write_text(json.dumps({"instances": x.tolist()}))
    (out / f"{name}.v2.json").write_text(json.dumps({"inputs": [tensor]}))
    (out / f"{name}.x.json").write_text(json.dumps({"x": x.tolist()}))
    (out / f"{name}.grpc").write_bytes(message(name, input, x))
    (out / f"{name}.bytes").write_bytes(x.tobytes())
    (out / f"{name}.v2").write_bytes(binary(input, x))
    (out / f"{name}.form").write_bytes(form(x.tobytes()))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    tiny(out / "models")
    requests(out, "tiny", "x", row())
    requests(out, "lite0", "input", np.random.default_rng(1).normal(0, 1, (1, 3, 224, 224)).astype(np.float32))
    chelsea = Path(__file__).resolve().parents[1] / "models/photos/chelsea.jpg"
    (out / "photo.jpg").write_bytes(photo(chelsea))
