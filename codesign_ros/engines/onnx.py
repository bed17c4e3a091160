"""Engine on ONNX Runtime: a piece cut out of the exported network, run on the CPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.utils
import onnxruntime

from codesign_ros.engines.base import zeros
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
        model: the whole network, serialised.
    """

    def __init__(self, model: bytes) -> None:
        whole = onnx.load_model_from_string(model)
        # The extractor takes the type of a piece's input from here, and an exported model lists
        # its outputs apart.
        whole.graph.value_info.extend(whole.graph.output)
        self._extractor = onnx.utils.Extractor(whole)

    def piece(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
        """Return what lies between ``inputs`` and ``outputs``, serialised."""
        extracted = self._extractor.extract_model(
            [spec.name for spec in inputs], [spec.name for spec in outputs]
        )
        return extracted.SerializeToString()
