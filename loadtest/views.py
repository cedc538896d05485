#!/usr/bin/env python3
"""A heavier version of a classifier of pictures: it looks at the picture several times, moved by a column each time, and
gives the mean of the logits. Needs what peers/autoscaling.txt pins.

    views.py SOURCE.onnx WIDTH VIEWS OUT.onnx
"""

import sys


def averaged(model, width: int, views: int):
    """The same with each node so many times, of which all but the first see the picture moved."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    (given,), (answer,) = graph.input, graph.output
    constants, nodes = list(graph.initializer), []
    weights = {w.name for w in constants}
    for view in range(views):
        columns = numpy_helper.from_array(np.roll(np.arange(width), -view), f"columns{view}")
        constants.append(columns)
        nodes.append(helper.make_node("Gather", [given.name, columns.name], [f"{view}/{given.name}"], axis=3))
        name = lambda n: n if not n or n in weights else f"{view}/{n}"
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{view}/{node.name}"
            copy.input[:] = map(name, node.input)
            copy.output[:] = map(name, node.output)
            nodes.append(copy)
    nodes.append(helper.make_node("Mean", [f"{view}/{answer.name}" for view in range(views)], [answer.name]))
    made = helper.make_graph(nodes, graph.name, [given], [answer], constants)
    return helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)


def main() -> None:
    import onnx

    source, width, views, out = sys.argv[1:]
    made = averaged(onnx.load(source), int(width), int(views))
    onnx.checker.check_model(made)
    onnx.save(made, out)


if __name__ == "__main__":
    main()
