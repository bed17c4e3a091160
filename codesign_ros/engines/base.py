"""What an engine is and which one is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from codesign_ros.types import Merge, Structure, TensorSpec


@dataclass(frozen=True)
class EngineKey:
    """Which half of a network, in which form.

    ``cut`` is the segment after which the head ends: a head runs segments 1..cut, a tail runs
    segments cut+1..N.
    """

    part: Literal["head", "tail"]
    cut: int
    structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"


class Engine(Protocol):
    """Runs one half of a network, batch 1.

    The frame enters a network as ``image``, normalised float32 (1, 3, H, W); what crosses a cut is
    named after the segment that made it.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Tensors that ``run`` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Tensors that ``run`` returns."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on zeros, so that the first frame finds memory and kernels ready."""

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once on the arrays named in ``inputs``; return those named in ``outputs``.

        May be called from several threads. The arrays returned are new.
        """

    def close(self) -> None:
        """Free the engine's memory. It cannot run afterwards."""


def zeros(specs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    """Return an array of zeros for each tensor, by name."""
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}
