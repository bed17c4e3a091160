"""What an engine is and which one is wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codesign_ros.types.forms import HalfForm, Merge, Part, Structure
from codesign_ros.types.tensors import TensorSpec


@dataclass(frozen=True)
class EngineKey:
    """Which half of a network, in which form; see ``HalfForm``."""

    part: Part
    cut: int
    structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"
    neck: bool = False

    @property
    def form(self) -> HalfForm:
        """All but the part."""
        return HalfForm(self.cut, self.structure, self.merge, self.precision, self.neck)


class Engine(Protocol):
    """Runs one half of a network, one frame (batch 1) or a few.

    The frame enters as ``image``, uint8 (H, W, 3) RGB as the letterbox leaves it; what crosses a
    cut is float32 and named after the segment that made it.
    """

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Tensors that ``run`` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Tensors that ``run`` returns."""

    @property
    def max_batch(self) -> int:
        """Frames that ``run_batch`` takes at most."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on zeros, so that the first frame finds memory and kernels ready."""

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once on the arrays named in ``inputs``; return those named in ``outputs``.

        May be called from several threads. The arrays returned are new.
        """

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run on up to ``max_batch`` frames, as ``run`` does on one; return them in that order.

        Raises:
            ValueError: there are more.
        """

    def close(self) -> None:
        """Free the engine's memory. It cannot run afterwards."""


def zeros(specs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    """Return an array of zeros for each tensor, by name."""
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}


def check_frame(specs: tuple[TensorSpec, ...], tensors: dict[str, np.ndarray]) -> None:
    """Compare arrays with what an engine takes.

    Raises:
        ValueError: one is missing, too many, or of another shape or type; names it.
    """
    if tensors.keys() != {spec.name for spec in specs}:
        raise ValueError(
            f"the engine takes {', '.join(spec.name for spec in specs)}, "
            f"not {', '.join(tensors) or 'nothing'}"
        )
    for spec in specs:
        array = tensors[spec.name]
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise ValueError(
                f"{spec.name} is {array.dtype} {array.shape}; "
                f"the engine takes {spec.dtype} {spec.shape}"
            )


class OneFrameEngine(ABC):
    """An ``Engine`` of batch 1, but for its tensors, ``run`` and ``close``."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch = 1

    @abstractmethod
    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See ``Engine.run``."""

    def warm_up(self, runs: int = 2) -> None:
        """Run on zeros ``runs`` times."""
        for _ in range(runs):
            self.run(zeros(self.inputs))

    def run_batch(self, batch: Sequence[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run on one frame at most; see ``Engine.run_batch``."""
        if len(batch) > 1:
            raise ValueError(f"a batch of {len(batch)}; the engine takes up to 1")
        return [self.run(frame) for frame in batch]
