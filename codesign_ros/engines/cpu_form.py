"""A quantised network as ONNX Runtime's CPU kernels want it."""

from __future__ import annotations

import graphlib

import onnx

# Operations that make no negative numbers of any, and those that make none of numbers that are
# none.
_MAKES_POSITIVE = ("Relu", "Sigmoid", "Softmax")
_KEEPS_POSITIVE = (
    "AveragePool", "Concat", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Reshape",
    "Resize", "Slice", "Split", "Transpose", "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
_UNSIGNED_ZERO = "unsigned_zero_point"


def for_cpu(model: onnx.ModelProto) -> None:
    """Rewrite a quantised model for ONNX Runtime's CPU kernels, in place.

    Tensors without negative numbers become uint8 with the same step and zero point 0. The numbers
    stay the same, except that what lies above the calibrated range is not cut off before twice the
    range. ONNX Runtime then rounds and applies a ReLU in one go with the convolution before it,
    which it can not with int8: measured on the detector that is 100 ms against 21. Values that
    calibration saw take 7 bits, so that sums do not overflow on processors without VNNI either.
    """
    graph = model.graph
    positive = _positive(graph)
    zero = onnx.helper.make_tensor(_UNSIGNED_ZERO, onnx.TensorProto.UINT8, [], [0])
    graph.initializer.append(zero)
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] in positive:
            node.input[2] = _UNSIGNED_ZERO
    # What an exported model says of its tensors' types would now be wrong; nothing needs it.
    stored = {node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    kept = [info for info in graph.value_info if info.name not in stored]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _positive(graph: onnx.GraphProto) -> set[str]:
    """Names of the tensors that can hold no negative number."""
    positive: set[str] = set()
    for node in _sorted(graph):
        keeps = node.op_type in _KEEPS_POSITIVE
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in _MAKES_POSITIVE or (keeps and positive.issuperset(sources)):
            positive.update(node.output)
    return positive


def _sorted(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes in an order in which each finds what it takes."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output}
    needs = {
        i: [makers[name] for name in node.input if name in makers]
        for i, node in enumerate(graph.node)
    }
    return [graph.node[i] for i in graphlib.TopologicalSorter(needs).static_order()]
