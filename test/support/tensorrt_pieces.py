"""Small pieces of ONNX for tests of builds."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def piece(nodes, *, batch=1, channels_out=8, domains=(), initializers=()):
    """A model from x (batch, 3, 16, 16) to y (batch, channels_out, 16, 16), serialised."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, channels, 16, 16))
        for name, channels in (("x", 3), ("y", channels_out))
    ]
    graph = helper.make_graph(nodes, "piece", ends[:1], ends[1:], list(initializers))
    imports = [helper.make_opsetid("", 17), *(helper.make_opsetid(each, 1) for each in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()


def convolution(batch=1):
    """A convolution and a ReLU."""
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "weights"], ["sum"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["sum"], ["y"], name="relu"),
    ]
    return piece(nodes, batch=batch, initializers=[numpy_helper.from_array(weights, "weights")])


def one_node(operator, domain="", before=()):
    """A piece that ends in one node, named "the_node"."""
    source = before[-1].output[0] if before else "x"
    node = helper.make_node(operator, [source], ["y"], name="the_node", domain=domain)
    return piece([*before, node], channels_out=3, domains=[domain] if domain else [])
