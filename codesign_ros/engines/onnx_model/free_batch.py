"""A piece of an exported network for any number of frames at once.

An exported network is of one frame, and has that 1 in its shapes. ``batch_rules`` says which
operations treat each of several frames as if it were alone.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.shape_inference
from onnx import helper
from onnx.reference import ReferenceEvaluator

from codesign_ros.engines.onnx_model.batch_rules import Operation, why_mixed
from codesign_ros.types.errors import CodesignError

BATCH = "batch"
"""Name of the first dimension of every input and output."""


def with_free_batch(piece: bytes) -> bytes:
    """Make a piece take any number of frames: the first dimension of each input and output.

    Args:
        piece: a piece of one frame from ``PieceCutter`` or ``to_fp16``.

    Returns:
        The piece, serialised. Of n frames it makes what the one given makes of each of them.

    Raises:
        CodesignError: an operation mixes frames, or is not known; names it.
    """
    model = onnx.load_model_from_string(piece)
    _Freeing(model).rewrite()
    return model.SerializeToString()


class _Freeing:
    """One model on its way to a free batch."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._opsets = {each.domain: each.version for each in model.opset_import}
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        # Shape of each tensor for one frame, where it is known.
        self._shapes = {tensor.name: tuple(tensor.dims) for tensor in self._graph.initializer}
        for info in (*typed.input, *typed.output, *typed.value_info):
            tensor = info.type.tensor_type
            if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
                self._shapes[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
        self._constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self._graph.initializer
        }
        self._with_frames = {info.name for info in self._graph.input}
        self._nodes: list[onnx.NodeProto] = []

    def rewrite(self) -> None:
        """Rewrite the graph in place."""
        graph = self._graph
        for node in graph.node:  # sorted, as the exported graph was
            if self._fold(node):
                continue
            if not self._with_frames.isdisjoint(node.input):
                self._free(node)
                self._with_frames.update(node.output)
            self._nodes.append(node)
        for output in graph.output:
            if output.name not in self._with_frames:
                raise CodesignError(
                    f"output '{output.name}' does not depend on the frame; "
                    "set tensorrt.max_batch to 1"
                )
        needed = {name for node in self._nodes for name in node.input}
        there = {tensor.name: tensor for tensor in graph.initializer}
        initializers = [
            there.get(name) or onnx.numpy_helper.from_array(array, name)
            for name, array in self._constants.items()
            if name in needed
        ]
        for field in ("node", "initializer", "value_info"):  # shapes of before
            graph.ClearField(field)
        graph.node.extend(self._nodes)
        graph.initializer.extend(initializers)
        for info in (*graph.input, *graph.output):
            info.type.tensor_type.shape.dim[0].dim_param = BATCH

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute what is the same for all frames: shapes of tensors of one, and what follows.

        Weights in 8 bits stay as they are.
        """
        if node.op_type in ("Shape", "Size") and node.input[0] in self._shapes:
            sources = {node.input[0]: np.empty(self._shapes[node.input[0]], np.uint8)}
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return False
        elif all(name in self._constants for name in node.input if name):
            sources = {name: self._constants[name] for name in node.input if name}
        else:
            return False
        made = ReferenceEvaluator(node, opsets=self._opsets).run(None, sources)
        for name, array in zip(node.output, made, strict=True):
            self._constants[name] = np.asarray(array)
            self._shapes[name] = self._constants[name].shape
        return True

    def _free(self, node: onnx.NodeProto) -> None:
        """Check an operation that takes frames, and take the 1 out of the shape that it is given.

        Raises:
            CodesignError: it mixes frames.
        """
        inputs = {i: name for i, name in enumerate(node.input) if name}
        made = node.output[0]
        if made not in self._shapes or not self._shapes.keys() >= set(inputs.values()):
            why: str | None = "has a shape that is known only when it runs"
        else:
            operation = Operation(
                node,
                {i: self._shapes[name] for i, name in inputs.items()},
                self._shapes[made],
                {i: self._constants[n] for i, n in inputs.items() if n in self._constants},
                frozenset(i for i, name in inputs.items() if name in self._with_frames),
            )
            why = why_mixed(operation)
        if why is not None:
            raise CodesignError(
                f"{node.op_type} '{node.name or made}' {why}: this part of the network takes one "
                "frame at a time; set tensorrt.max_batch to 1"
            )
        rest = list(self._shapes[made][1:])
        if node.op_type == "Reshape":
            # 0 takes over what comes in there.
            node.input[1] = self._constant(f"{made}_shape", [0, *rest])
            kept = [each for each in node.attribute if each.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            node.input[3] = self._sizes(node.input[0], made, rest)

    def _sizes(self, source: str, made: str, rest: list[int]) -> str:
        """Name of a shape with as many frames as ``source`` has, and the ``rest`` as given.

        Written as torch exports it, which every TensorRT can read.
        """
        shape, frames, sizes = (f"{made}_{what}" for what in ("source", "frames", "sizes"))
        zero, one = self._constant("zero", [0]), self._constant("one", [1])
        of_frame = self._constant(f"{made}_rest", rest)
        self._nodes += [
            helper.make_node("Shape", [source], [shape], shape),
            helper.make_node("Slice", [shape, zero, one, zero], [frames], frames),
            helper.make_node("Concat", [frames, of_frame], [sizes], sizes, axis=0),
        ]
        return sizes

    def _constant(self, name: str, numbers: list[int]) -> str:
        name = f"{name}_with_frames"
        self._constants[name] = np.array(numbers, np.int64)
        return name
