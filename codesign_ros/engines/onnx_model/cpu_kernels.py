"""A network in 8 bits or float16 as ONNX Runtime's CPU kernels want it."""

from __future__ import annotations

import graphlib
from collections import Counter

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.shape_inference
from onnx import TensorProto, helper

# Operations that make no negative numbers of any, and those that make none of numbers that are
# none.
_MAKES_POSITIVE = ("Relu", "Sigmoid", "Softmax")
_KEEPS_POSITIVE = (
    "AveragePool", "Concat", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Reshape",
    "Resize", "Slice", "Split", "Transpose", "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip
_UNSIGNED_ZERO = "unsigned_zero_point"
# What hands float16 numbers on, so that there is nothing to round.
_PASSING = (
    "Clip", "Concat", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Relu",
    "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
_FLOAT, _HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)


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


def half_for_cpu(piece: bytes) -> bytes:
    """Rewrite a piece of ``to_fp16`` for ONNX Runtime's CPU kernels.

    They have next to none for float16. ONNX Runtime would compute in float32 and leave the rounding
    between operations out, so that the answer would be that of another network than a GPU runs.
    Here operations are float32 ones, as the sums are on a GPU too, and what each makes is rounded
    to float16 and back; where a ReLU follows, behind that, which comes to the same.

    Args:
        piece: from ``to_fp16``, serialised.

    Returns:
        The piece, serialised.
    """
    model = onnx.load_model_from_string(piece)
    graph = model.graph
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    halves = {t.name for t in typed.value_info if t.type.tensor_type.elem_type == _HALF}
    uses = Counter(name for node in graph.node for name in node.input)
    before_relu = {node.input[0] for node in graph.node if node.op_type == "Relu"}
    unrounded = {name for name in before_relu & halves if uses[name] == 1}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in halves:
            nodes += _rounding(node.input[0], node.output[0])
            continue
        passing = node.op_type in _PASSING and unrounded.isdisjoint(node.input)
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name in halves - unrounded and not passing:
                node.output[i] = f"{name}_exact"
                nodes += _rounding(node.output[i], name)
    weights = [_as_float32(tensor) for tensor in graph.initializer]
    for field in ("node", "initializer", "value_info"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    return model.SerializeToString()


def _rounding(source: str, made: str) -> list[onnx.NodeProto]:
    """Nodes that round to float16. ONNX Runtime leaves these be, unlike casts of its own."""
    stored = f"{made}_stored"
    return [
        helper.make_node("Cast", [source], [stored], stored, to=_HALF),
        helper.make_node("Cast", [stored], [made], made, to=_FLOAT),
    ]


def _as_float32(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type != _HALF:
        return tensor
    array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    return onnx.numpy_helper.from_array(array, tensor.name)


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
