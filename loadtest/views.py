#!/usr/bin/env python3
"""A heavier version of a classifier of pictures: it looks at the mirror image too, and gives the mean of both logits.
Needs what peers/autoscaling.txt pins.

    mirrored.py SOURCE.onnx WIDTH OUT.onnx
"""

import sys


def mirrored(model, width: int):
    """The same with each node twice, of which the second sees the picture turned round."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    (given,), (answer,) = graph.input, graph.output
    weights = {w.name for w in graph.initializer}
    order = numpy_helper.from_array(np.arange(width)[::-1].copy(), "columns_backwards")
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    nodes = [helper.make_node("Gather", [given.name, order.name], ["mirrored/" + given.name], axis=3)]
    for prefix in ("plain/", "mirrored/"):
        name = lambda n: n if not n or n in weights or (n == given.name and prefix == "plain/") else prefix + n
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = prefix + node.name
            copy.input[:] = map(name, node.input)
            copy.output[:] = map(name, node.output)
            nodes.append(copy)
    nodes.append(helper.make_node("Add", ["plain/" + answer.name, "mirrored/" + answer.name], ["both"]))
    nodes.append(helper.make_node("Mul", ["both", half.name], [answer.name]))
    made = helper.make_graph(nodes, graph.name, [given], [answer], [*graph.initializer, order, half])
    return helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)


if __name__ == "__main__":
    import onnx

    source, width, out = sys.argv[1:]
    made = mirrored(onnx.load(source), int(width))
    onnx.checker.check_model(made)
    onnx.save(made, out)
