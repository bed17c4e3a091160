"""A piece of an exported network that computes in float16.

``onnxruntime.transformers.float16`` does the same and was tried. It will not do here: weights that
are too large it cuts off without a word, those that are too small become float16's smallest number
instead of 0, and behind every operation that stays float32 it casts to float16, so that a box would
leave the network in steps of half a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.defs
import onnx.numpy_helper
import onnx.shape_inference
from onnx import TensorProto, helper

from codesign_ros.types.errors import CodesignError

# What takes the time, and has weights: always float16.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What loses much or overflows in float16, as torch.autocast has it. What takes their results stays
# float32 too, up to the next operation with weights; in a detector that is where boxes are made.
_FLOAT32 = (
    "Acos", "Asin", "Cosh", "CumSum", "Exp", "GroupNormalization", "InstanceNormalization",
    "LayerNormalization", "Log", "LogSoftmax", "LpNormalization", "Pow", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    "Sinh", "Softmax", "Softplus", "Sqrt", "Tan",
)  # fmt: skip
# They take any type, and what they make does not depend on it.
_OF_ANY_TYPE = ("Cast", "Shape", "Size")
_FLOAT, _HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
_NAMES = {_FLOAT: "float32", _HALF: "float16"}


def to_fp16(piece: bytes) -> bytes:
    """Make an fp32 piece compute in float16.

    Weights and what lies between operations become float16; inputs and outputs stay float32.
    Operations that float16 does harm stay float32, see ``_FLOAT32``, and so do those with a
    constant that float16 cannot hold. Every operation takes only types that it may have together,
    which TensorRT insists on.

    Args:
        piece: an fp32 piece from ``PieceCutter``.

    Returns:
        The piece, serialised.

    Raises:
        CodesignError: a weight is too large for float16; names it.
    """
    model = onnx.load_model_from_string(piece)
    _Halving(model).rewrite()
    return model.SerializeToString()


class _Halving:
    """One model on its way to float16. A tensor keeps its name, whatever type it gets."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._version = next(each.version for each in model.opset_import if not each.domain)
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
        self._constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in self._graph.initializer
            if tensor.data_type == _FLOAT
        }
        self._floats = {
            info.name
            for info in (*typed.input, *typed.output, *typed.value_info)
            if info.type.tensor_type.elem_type == _FLOAT
        }.union(self._constants)
        # The float tensors that are float16 now, and those that make what takes them float32.
        self._halves: set[str] = set()
        self._precise: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._copies: set[str] = set()  # the same in another type

    def rewrite(self) -> None:
        """Rewrite the graph in place."""
        graph = self._graph
        for node in graph.node:  # sorted, as the exported graph was
            if node.op_type == "Constant" and node.output[0] in self._floats:
                value = helper.get_node_attr_value(node, "value")
                value.name = node.output[0]
                graph.initializer.append(value)
                self._constants[value.name] = onnx.numpy_helper.to_array(value)
                continue
            if not self._floats.isdisjoint((*node.input, *node.output)):
                self._give_types(node)
            self._nodes.append(node)
        for output in graph.output:
            if output.name in self._halves:
                self._restore(output.name)
        needed = {name for node in self._nodes for name in node.input}
        initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
        for field in ("node", "initializer", "value_info"):  # types of before
            graph.ClearField(field)
        graph.node.extend(self._nodes)
        graph.initializer.extend(initializers)

    def _give_types(self, node: onnx.NodeProto) -> None:
        """Choose the type in which an operation computes, and cast what it takes to it."""
        if node.op_type in _OF_ANY_TYPE:
            return
        sources = [name for name in node.input if name in self._floats]
        if not sources:
            return  # it makes floats of none, and they are cast where they are wanted
        schema = onnx.defs.get_schema(node.op_type, self._version, node.domain)
        half = self._is_half(node, sources, schema)
        for i, name in enumerate(node.input):
            if name in self._floats:
                # As the scales of a Resize, which are float32 in any case.
                fixed = _formal(schema.inputs, i).type_str == "tensor(float)"
                node.input[i] = self._as(name, _HALF if half and not fixed else _FLOAT)
        made = self._floats.intersection(node.output)
        (self._halves if half else self._precise).update(made)

    def _is_half(
        self, node: onnx.NodeProto, sources: list[str], schema: onnx.defs.OpSchema
    ) -> bool:
        if node.op_type in _WEIGHTED:
            for name in sources:
                if name in self._constants:
                    _check_weight(name, self._constants[name])
            return True
        if node.op_type in _FLOAT32 or not self._precise.isdisjoint(sources):
            return False
        if not all(_fits(self._constants[name]) for name in sources if name in self._constants):
            return False
        may_be_half = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if "tensor(float16)" in constraint.allowed_type_strs
        }
        kinds = [
            _formal(formals, i).type_str
            for formals, names in ((schema.inputs, node.input), (schema.outputs, node.output))
            for i, name in enumerate(names)
            if name in self._floats
        ]
        return may_be_half.issuperset(kind for kind in kinds if kind != "tensor(float)")

    def _as(self, name: str, type: int) -> str:
        """Name of a float tensor in this type; made if need be."""
        if type == (_HALF if name in self._halves else _FLOAT):
            return name
        copy = f"{name}_{_NAMES[type]}"
        if copy not in self._copies:
            self._copies.add(copy)
            if name in self._constants:
                array = self._constants[name].astype(np.float16)
                self._graph.initializer.append(onnx.numpy_helper.from_array(array, copy))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [copy], copy, to=type))
        return copy

    def _restore(self, name: str) -> None:
        """Make an output float32 again."""
        half = f"{name}_{_NAMES[_HALF]}"
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [half if each == name else each for each in names]
        self._nodes.append(helper.make_node("Cast", [half], [name], f"{name}_end", to=_FLOAT))


def _formal(
    formals: Sequence[onnx.defs.OpSchema.FormalParameter], position: int
) -> onnx.defs.OpSchema.FormalParameter:
    """The formal parameter of an argument; the last one may stand for several."""
    return formals[min(position, len(formals) - 1)]


def _check_weight(name: str, weight: np.ndarray) -> None:
    largest = float(np.abs(weight).max(initial=0.0))
    limit = float(np.finfo(np.float16).max)
    if largest > limit:
        raise CodesignError(
            f"weight '{name}' goes up to {largest:g} and float16 to {limit:g}; "
            "this network needs another precision than fp16"
        )


def _fits(constant: np.ndarray) -> bool:
    """Whether float16 can hold a constant: it neither overflows nor vanishes."""
    with np.errstate(over="ignore"):
        half = constant.astype(np.float16)
    overflows = (np.isinf(half) & np.isfinite(constant)).any()
    return not overflows and half.any() == constant.any()
