"""What ``codesign train`` takes for a detector beside what every training takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from codesign_ros.models.detection import STRIDES
from codesign_ros.training.options import ClassOptions
from codesign_ros.training.scenes import SceneOptions
from codesign_ros.types.errors import CodesignError

_LEAST_INPUT_PX = 32
_INPUT_PIXELS = 400 * 640


@dataclass(frozen=True, kw_only=True)
class DetectorOptions(SceneOptions, ClassOptions):
    """Options of a detector's training.

    Attributes:
        variant: width of the network, see ``models.zoo.yolo``.
        reg_max: likewise.
        input: (height, width) of the network's input [px]; None = what fits the pictures, see
            `fitting_input`.
        bfloat16: compute in 16 bits while training.
    """

    what: ClassVar[str] = "the training of a detector"
    usual_epochs: ClassVar[float] = 100.0

    variant: str = "nano"
    reg_max: int = 12
    input: tuple[int, int] | None = None
    bfloat16: bool = False

    @property
    def peak_rate(self) -> float:
        """The peak of the learning rate: less where ``init`` is a start."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-3 if self.init is None else 5e-4

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        super().check()
        if self.input is not None and min(self.input) < _LEAST_INPUT_PX:
            height, width = self.input
            raise CodesignError(
                f"--input must have {_LEAST_INPUT_PX} pixels a side or more, not {height}x{width}"
            )


def fitting_input(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Choose the network's input for pictures of these sizes, (height, width) each [px].

    The middle one of them, so that little is padding; shrunk to about the pixels of 400 x 640, and
    then to whole cells of the coarsest map, where it is larger.
    """
    height, width = (float(np.median([size[side] for size in sizes])) for side in (0, 1))
    shrink = math.sqrt(_INPUT_PIXELS / (height * width))
    if shrink < 1:
        height, width = (
            round(shrink * side / STRIDES[-1]) * STRIDES[-1] for side in (height, width)
        )
    return tuple(max(_LEAST_INPUT_PX, round(side)) for side in (height, width))  # type: ignore[return-value]
