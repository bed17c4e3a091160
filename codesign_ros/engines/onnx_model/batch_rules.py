"""Which operations of ONNX make of several frames what they make of each.

Frames are the first dimension. An operation that is not known here is not trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

# Number by number; what has fewer dimensions, or 1 of them, is repeated.
_BROADCASTING = (
    "Abs", "Acos", "Add", "And", "Asin", "Atan", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh",
    "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign",
    "Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor",
)  # fmt: skip
# Frame by frame: the first dimension is that of frames by definition.
_BY_FRAME = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
    "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization",
    "InstanceNormalization", "LRN", "LpPool", "MaxPool", "SpaceToDepth",
)  # fmt: skip
# Along one axis; with the one that is meant where none is given.
_ALONG_AXIS = {
    "ArgMax": 0, "ArgMin": 0, "Concat": 0, "DequantizeLinear": 1, "Gather": 0, "Hardmax": -1,
    "LayerNormalization": -1, "LogSoftmax": -1, "LpNormalization": -1, "QuantizeLinear": 1,
    "Softmax": -1, "Split": 0, "TopK": -1,
}  # fmt: skip
# What takes frames at several of its inputs; all others take them at the first alone.
_SEVERAL = (*_BROADCASTING, "Concat", "MatMul")
# An end of a Slice from which on it means all there is.
_NO_END = 2**31 - 1


@dataclass(frozen=True)
class Operation:
    """A node of a graph for one frame, with what is known of the tensors that it takes and makes.

    Attributes:
        node: the node; at least one of its inputs has frames.
        takes: shape of each input that is there, by position; of one frame.
        makes: shape of its first output, of one frame.
        constants: value of each input that is constant and known, by position.
        with_frames: positions of the inputs that have frames.
    """

    node: onnx.NodeProto
    takes: Mapping[int, tuple[int, ...]]
    makes: tuple[int, ...]
    constants: Mapping[int, np.ndarray]
    with_frames: frozenset[int]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute."""
        for each in self.node.attribute:
            if each.name == name:
                return helper.get_attribute_value(each)
        return default

    def numbers(self, position: int, attribute: str = "") -> list[int] | None:
        """Integers that are an input, or an attribute in older operations; None = not given."""
        if position in self.constants:
            return [int(each) for each in self.constants[position].ravel()]
        return self.attribute(attribute)


def why_mixed(operation: Operation) -> str | None:
    """Tell why an operation would not make of several frames what it makes of each; else None."""
    kind = operation.node.op_type
    if kind not in _SEVERAL and operation.with_frames != {0}:
        return "takes frames where weights are expected"
    if kind in _BROADCASTING:
        return _why_broadcast(operation, len(operation.makes))
    if kind in _ALONG_AXIS:
        return _why_along_axis(operation)
    if kind in _BY_FRAME:
        return "goes along the frames" if operation.attribute("training_mode") else None
    if kind.startswith("Reduce"):
        return _why_reduced(operation)
    rule = _RULES.get(kind)
    return "is not known to keep frames apart" if rule is None else rule(operation)


def _why_broadcast(operation: Operation, rank: int) -> str | None:
    for position, shape in operation.takes.items():
        if position in operation.with_frames:
            if len(shape) != rank:
                return "sets the frames against another dimension"
        elif len(shape) == rank and shape[0] != 1:
            return "has a number for each frame"
    return None


def _why_along_axis(operation: Operation) -> str | None:
    kind, rank = operation.node.op_type, len(operation.takes[0])
    if kind == "Concat" and len(operation.with_frames) != len(operation.takes):
        return "puts a constant beside the frames"
    if kind in ("QuantizeLinear", "DequantizeLinear") and operation.takes[1] in ((), (1,)):
        return None  # one step for all
    return _why_axes([operation.attribute("axis", _ALONG_AXIS[kind])], rank)


def _why_axes(axes: list[int], rank: int) -> str | None:
    return "goes along the frames" if any(axis % rank == 0 for axis in axes) else None


def _why_reduced(operation: Operation) -> str | None:
    axes = operation.numbers(1, "axes")
    if not axes:
        return None if operation.attribute("noop_with_empty_axes", 0) else "goes along the frames"
    return _why_axes(axes, len(operation.takes[0]))


def _why_gemm(operation: Operation) -> str | None:
    if operation.attribute("transA", 0):
        return "goes along the frames"
    addend = operation.takes.get(2, ())
    return "has a number for each frame" if len(addend) == 2 and addend[0] != 1 else None


def _why_matmul(operation: Operation) -> str | None:
    rank = len(operation.makes)
    if rank > 2:
        return _why_broadcast(operation, rank)
    is_row_by_row = operation.with_frames == {0} and len(operation.takes[0]) == 2
    return None if is_row_by_row else "goes along the frames"


def _why_transposed(operation: Operation) -> str | None:
    order = operation.attribute("perm") or [len(operation.makes) - 1]
    return None if order[0] == 0 else "moves the frames to another dimension"


def _why_flattened(operation: Operation) -> str | None:
    axis = operation.attribute("axis", 1)
    return None if axis % len(operation.takes[0]) == 1 else "flattens the frames"


def _why_reshaped(operation: Operation) -> str | None:
    # With all of one frame in one row, and rows in order, what is of a frame stays together.
    return None if operation.makes[:1] == (1,) else "has the frames in no dimension of their own"


def _why_squeezed(operation: Operation) -> str | None:
    axes = operation.numbers(1, "axes")
    if axes is None:
        return "takes every dimension of 1 away, of which one is that of the frames"
    rank = max(len(operation.takes[0]), len(operation.makes))
    return "moves the frames" if any(axis % rank == 0 for axis in axes) else None


def _why_sliced(operation: Operation) -> str | None:
    starts, ends = operation.numbers(1) or [], operation.numbers(2) or []
    axes = operation.numbers(3) or list(range(len(starts)))
    steps = operation.numbers(4) or [1] * len(starts)
    rank = len(operation.takes[0])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis % rank == 0 and (start != 0 or end < _NO_END or step != 1):
            return "takes some of the frames"
    return None if starts and ends else "takes a part that is not known"


def _why_padded(operation: Operation) -> str | None:
    pads, rank = operation.numbers(1) or [], len(operation.takes[0])
    axes = operation.numbers(3) or list(range(rank))
    if len(pads) != 2 * len(axes):
        return "is padded by what is not known"
    for axis, before, behind in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if axis % rank == 0 and (before or behind):
            return "puts something beside the frames"
    return None


def _why_repeated(operation: Operation) -> str | None:
    if len(operation.takes[0]) != len(operation.makes):
        return "moves the frames to another dimension"
    counts = operation.numbers(1)
    if counts is None or (len(counts) == len(operation.makes) and counts[0] != 1):
        return "repeats frames"
    return None


def _why_resized(operation: Operation) -> str | None:
    scales = operation.constants.get(2)
    if operation.makes[:1] != (1,) or (scales is not None and scales.size and scales[0] != 1):
        return "makes other frames of the frames"
    return None


_RULES: Mapping[str, Callable[[Operation], str | None]] = {
    "Expand": _why_repeated,
    "Flatten": _why_flattened,
    "Gemm": _why_gemm,
    "MatMul": _why_matmul,
    "Pad": _why_padded,
    "Reshape": _why_reshaped,
    "Resize": _why_resized,
    "Slice": _why_sliced,
    "Squeeze": _why_squeezed,
    "Tile": _why_repeated,
    "Transpose": _why_transposed,
    "Unsqueeze": _why_squeezed,
}
