"""Engine on ONNX Runtime: a piece cut out of the exported network, run on the CPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.utils
import onnxruntime

from codesign_ros.engines.base import zeros
from codesign_ros.engines.cpu_form import for_cpu
from codesign_ros.types import TensorSpec


class OnnxEngine:
    """An ``Engine`` on an ONNX model whose inputs and outputs are named as in the bundle.

    Args:
        model: the half, serialised.
        inputs: tensors it takes.
        outputs: tensors it makes.
        threads: threads that work on one run.
    """

    def __init__(
        self,
        model: bytes,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._output_names = [spec.name for spec in outputs]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that spin between frames would take the cores from the other nodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def warm_up(self, runs: int = 2) -> None:
        """Run on zeros ``runs`` times."""
        for _ in range(runs):
            self.run(zeros(self.inputs))

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Engine.run``."""
        if self._session is None:
            raise RuntimeError("the engine is closed")
        results = self._session.run(self._output_names, tensors)
        return dict(zip(self._output_names, results, strict=True))

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


class PieceCutter:
    """Cuts pieces out of an exported network in which every crossing tensor is an output.

    Args:
        model: the whole network, serialised; fp32, or with the pairs of ``quantise``.
    """

    def __init__(self, model: bytes) -> None:
        whole = onnx.load_model_from_string(model)
        if any(node.op_type == "QuantizeLinear" for node in whole.graph.node):
            for_cpu(whole)
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
        """
        extracted = self._extractor.extract_model(
            [spec.name for spec in inputs], [spec.name for spec in outputs]
        )
        for spec in inputs:
            if spec.name in self._rounded:
                self._round_input(extracted.graph, spec.name)
        return extracted.SerializeToString()

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
