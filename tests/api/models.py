"""Makes the model repository that the API is tried on: the demo model, and tiny ones that answer the
document's examples."""

import shutil
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
CLASSES = '[output]\nkind = "classification"\nlabels = "labels.txt"\n'


def value(name: str, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(models: Path, name: str, version: int, node, inputs: list, outputs: list, toml=""):
    graph = helper.make_graph([node], name, [value("x", inputs)], [value("y", outputs)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    onnx.save(model, directory / "model.onnx")
    if toml:
        (directory.parent / "model.toml").write_text(toml)
        (directory.parent / "labels.txt").write_text("ant\nbee\ncat\n")


def make(models: Path):
    shutil.copytree(ROOT / "models/efficientnet_lite0", models / "efficientnet_lite0")
    # Three numbers into three classes, in two versions.
    both = "[versions]\nall = true\n\n[labels]\nstable = 1\n\n" + CLASSES
    for version in (1, 2):
        same = helper.make_node("Identity", ["x"], ["y"])
        write(models, "tiny", version, same, ["batch", 3], ["batch", 3], both)
    # Three numbers into one.
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    write(models, "number", 1, mean, ["batch", 3], ["batch", 1], "[labels]\nstable = 1\n")
    # A photo into three classes.
    image = '[input]\nkind = "image"\n\n' + CLASSES
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    write(models, "eye", 1, mean, ["batch", 3, 4, 4], ["batch", 3], image)
    # What can't be loaded is told of too.
    (models / "broken/1").mkdir(parents=True)
    (models / "broken/1/model.onnx").write_bytes(b"no model")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
