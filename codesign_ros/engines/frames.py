"""An engine whose half begins with the camera's frame takes it as the letterbox leaves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from codesign_ros.engines.base import Engine, zeros
from codesign_ros.types.tensors import IMAGE, InputSpec, TensorSpec


class FrameEngine:
    """An ``Engine`` that takes ``image``, uint8 (H, W, 3) RGB, and runs another on what it needs.

    Args:
        engine: what runs; its only input is ``image``.
        prepare: makes that of the frame.
        spec: the network's input.
    """

    max_batch: int

    def __init__(
        self, engine: Engine, prepare: Callable[[np.ndarray], np.ndarray], spec: InputSpec
    ) -> None:
        self.inputs = (TensorSpec(IMAGE, (spec.height, spec.width, 3), "uint8"),)
        self.outputs = engine.outputs
        self.max_batch = engine.max_batch
        self._engine = engine
        self._prepare = prepare

    def warm_up(self, runs: int = 2) -> None:
        """Run on black frames; see ``Engine.warm_up``."""
        self._engine.warm_up(runs)
        self.run(zeros(self.inputs))

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; see ``Engine.run``.

        Raises:
            CodesignError: the frame has another size or type.
        """
        return self._engine.run(self._prepared(tensors))

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run on a few frames; see ``Engine.run_batch``."""
        return self._engine.run_batch([self._prepared(frame) for frame in batch])

    def close(self) -> None:
        """Free the engine's memory."""
        self._engine.close()

    def _prepared(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {IMAGE: self._prepare(tensors[IMAGE])}
