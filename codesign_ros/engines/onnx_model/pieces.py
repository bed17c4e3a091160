"""Pieces of an exported network: what lies between two cuts, as an ONNX model of its own."""

from __future__ import annotations

import onnx
import onnx.utils

from codesign_ros.engines.onnx_model import cpu_kernels
from codesign_ros.engines.onnx_model.float16 import to_fp16
from codesign_ros.types.tensors import TensorSpec


class PieceCutter:
    """Cuts pieces out of an exported network in which every crossing tensor is an output.

    Args:
        model: the whole network, serialised; fp32, or with the pairs of ``quantise``.
        for_cpu: whether 8 bits and float16 are written as ONNX Runtime's CPU kernels want them.
            Otherwise they are as TensorRT wants them: int8, symmetric, biases in float.
        float16: whether pieces of an fp32 network compute in float16, see ``to_fp16``.
    """

    def __init__(self, model: bytes, *, for_cpu: bool, float16: bool = False) -> None:
        self._float16, self._for_cpu = float16, for_cpu
        whole = onnx.load_model_from_string(model)
        if for_cpu and any(node.op_type == "QuantizeLinear" for node in whole.graph.node):
            cpu_kernels.for_cpu(whole)
        # The extractor takes the type of a piece's input from here, and an exported model lists
        # its outputs apart.
        whole.graph.value_info.extend(whole.graph.output)
        self._extractor = onnx.utils.Extractor(whole)
        # Step and zero point of the tensors that are made rounded.
        self._rounded = {
            node.output[0]: list(node.input[1:])
            for node in whole.graph.node
            if node.op_type == "DequantizeLinear"
        }
        self._initializers = {tensor.name: tensor for tensor in whole.graph.initializer}

    def piece(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
        """Return what lies between ``inputs`` and ``outputs``, serialised.

        An input that the whole network takes rounded is rounded first, which changes nothing where
        it comes from a head of the same form, and lets 8-bit kernels begin with it.

        Raises:
            CodesignError: a weight is too large for float16.
        """
        extracted = self._extractor.extract_model(
            [spec.name for spec in inputs], [spec.name for spec in outputs]
        )
        for spec in inputs:
            if spec.name in self._rounded:
                self._round_input(extracted.graph, spec.name)
        piece = extracted.SerializeToString()
        if not self._float16:
            return piece
        return cpu_kernels.half_for_cpu(to_fp16(piece)) if self._for_cpu else to_fp16(piece)

    def _round_input(self, graph: onnx.GraphProto, name: str) -> None:
        parameters = self._rounded[name]
        stored, rounded = f"{name}_received_stored", f"{name}_received"
        for node in graph.node:
            node.input[:] = [rounded if each == name else each for each in node.input]
        pair = [
            onnx.helper.make_node("QuantizeLinear", [name, *parameters], [stored]),
            onnx.helper.make_node("DequantizeLinear", [stored, *parameters], [rounded]),
        ]
        nodes = [*pair, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        there = {tensor.name for tensor in graph.initializer}
        graph.initializer.extend(self._initializers[p] for p in parameters if p not in there)
