#!/usr/bin/env python3
"""Writes a ResNet-50 (v1.5) with random weights: what it answers is worth nothing, and it takes as long as a trained one.

    loadtest/resnet50.py DIR                # DIR/1/model.onnx, 102 MB; `input` n x 3 x 224 x 224, `logits` n x 1000

For the comparisons: `loadtest/compare.py raw --model DIR`. Batch normalisation is folded into the convolutions, as every
engine does when it loads a trained one. He et al., Deep Residual Learning, table 1; the stride is in the 3 x 3, as in
torchvision.
"""

import os
import sys
from pathlib import Path

import venvs

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Channels of a block's middle, blocks, stride of the first."""
GROWTH = 4


def write(out: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, weights = np.random.default_rng(1), [], []

    def tensor(name: str, value) -> str:
        weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def node(kind: str, inputs: list[str], **how) -> str:
        out = how.pop("out", f"{kind.lower()}_{len(nodes)}")
        nodes.append(helper.make_node(kind, inputs, [out], **how))
        return out

    def conv(x: str, taken: int, given: int, size: int, stride: int, gain: float = 2.0) -> str:
        at = len(nodes)
        # He's initialisation keeps the variance from layer to layer, so nothing overflows.
        scale = (gain / (taken * size * size)) ** 0.5
        w = tensor(f"w{at}", rng.normal(0, scale, (given, taken, size, size)))
        b = tensor(f"b{at}", np.zeros(given))
        return node("Conv", [x, w, b], kernel_shape=[size, size], strides=[stride, stride], pads=[size // 2] * 4)

    x = node("Relu", [conv("input", 3, 64, 7, 2)])
    x = node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for middle, blocks, stride in STAGES:
        for block in range(blocks):
            stride = stride if block == 0 else 1
            y = node("Relu", [conv(x, channels, middle, 1, 1)])
            y = node("Relu", [conv(y, middle, middle, 3, stride)])
            y = conv(y, middle, middle * GROWTH, 1, 1, gain=0.2)
            if block == 0:
                x = conv(x, channels, middle * GROWTH, 1, stride, gain=1.0)
            x = node("Relu", [node("Add", [x, y])])
            channels = middle * GROWTH
    x = node("Flatten", [node("GlobalAveragePool", [x])])
    w, b = tensor("fc", rng.normal(0, channels**-0.5, (channels, 1000))), tensor("fc_b", np.zeros(1000))
    node("Gemm", [x, w, b], out="logits")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "resnet50",
        [value("input", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [value("logits", TensorProto.FLOAT, ["batch", 1000])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (out / "1").mkdir(parents=True, exist_ok=True)
    onnx.save(model, out / "1/model.onnx")
    count = sum(int(np.prod(w.dims)) for w in weights)
    print(f"{out}: {count / 1e6:.2f} million weights, {sum(n.op_type == 'Conv' for n in nodes)} convolutions")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        import onnx  # noqa: F401
    except ImportError:
        python = venvs.python("raw")
        os.execv(python, [python, __file__, sys.argv[1]])
    write(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
