"""Engine that runs the halves of a re-parameterised network with PyTorch itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from codesign_ros.engines.base import run_in_turn, zeros
from codesign_ros.models.halves import NetworkHalf
from codesign_ros.types import TensorSpec


class TorchEngine:
    """An ``Engine`` on a half in evaluation mode."""

    def __init__(self, half: NetworkHalf) -> None:
        self.inputs: tuple[TensorSpec, ...] = half.inputs
        self.outputs: tuple[TensorSpec, ...] = half.outputs
        self._half: NetworkHalf | None = half

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
        if self._half is None:
            raise RuntimeError("the engine is closed")
        with torch.inference_mode():
            results = self._half({name: torch.from_numpy(a) for name, a in tensors.items()})
        return {name: tensor.numpy() for name, tensor in results.items()}

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run on one frame at most; see ``Engine.run_batch``."""
        return run_in_turn(self, batch)

    def close(self) -> None:
        """Let go of the network."""
        self._half = None
