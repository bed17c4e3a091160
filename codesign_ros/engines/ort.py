"""Backend onnxruntime: pieces cut out of the exported network, run on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from codesign_ros.engines.base import EngineKey, OneFrameEngine
from codesign_ros.engines.frames import FrameEngine
from codesign_ros.engines.onnx_model.backend import OnnxBackend
from codesign_ros.engines.onnx_model.export_process import export_in_process
from codesign_ros.engines.onnx_model.pixels import PixelCodes, pixel_piece
from codesign_ros.types.forms import PRECISIONS
from codesign_ros.types.tensors import IMAGE, TensorSpec


class OrtBackend(OnnxBackend):
    """ONNX Runtime on the CPU."""

    backend = "onnxruntime"
    precisions = PRECISIONS
    for_cpu = True

    def prepare_aside(
        self,
        key: EngineKey,
        progress: Callable[[float | None, str], None] = lambda fraction, text: None,
    ) -> None:
        """Export the network that a half is cut out of; see ``EngineFactory.prepare_aside``."""
        self._ends(key)
        if self.file_of(key) is None:
            export_in_process(self.bundle.path, self.cache_dir, key, progress)

    def _load(
        self, key: EngineKey, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> OnnxEngine | FrameEngine:
        piece = self._piece(key)
        spec = self.bundle.input
        if inputs[0].name == IMAGE and (pixels := pixel_piece(piece, spec)) is not None:
            piece, codes, step = pixels
            engine = OnnxEngine(piece, (codes,), outputs, self.threads)
            return FrameEngine(engine, PixelCodes(spec, step), spec)
        return OnnxEngine(piece, inputs, outputs, self.threads)


class OnnxEngine(OneFrameEngine):
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
        # Buffers laid out after the first run come beside those of that run, which stay: 13 MB more
        # for the detector, whose runs are not quicker for it by half a percent.
        options.enable_mem_pattern = False
        # Threads that spin between frames would take the cores from the other nodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        # It keeps the model, weights and all, to begin anew with another provider; there is none.
        self._session._model_bytes = b""

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Engine.run``."""
        if self._session is None:
            raise RuntimeError("the engine is closed")
        results = self._session.run(self._output_names, tensors)
        return dict(zip(self._output_names, results, strict=True))

    def close(self) -> None:
        """Let go of the session."""
        self._session = None
