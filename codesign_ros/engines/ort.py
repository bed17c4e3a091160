"""Engine on ONNX Runtime: a piece cut out of the exported network, run on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from codesign_ros.engines.base import run_in_turn, zeros
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

    @property
    def max_batch(self) -> int:
        """1: the model is of one frame."""
        return 1

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

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run on one frame at most; see ``Engine.run_batch``."""
        return run_in_turn(self, batch)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None
