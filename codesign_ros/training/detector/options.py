"""What ``codesign train`` takes for a detector beside what every training takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from codesign_ros.training.options import TrainingOptions
from codesign_ros.types import CodesignError

_LEAST_INPUT_PX = 32


@dataclass(frozen=True, kw_only=True)
class DetectorOptions(TrainingOptions):
    """Options of a detector's training.

    Attributes:
        classes: names to learn, in this order; None = all that the data has.
        frames: scenes of the mine to train on; 768 kB each in the temporary directory.
        variant: width of the network, see ``models.zoo.yolo``.
        reg_max: likewise.
        input: (height, width) of the network's input [px].
        bfloat16: compute in 16 bits while training.
    """

    what: ClassVar[str] = "the training of a detector"
    least: ClassVar[Mapping[str, int]] = {**TrainingOptions.least, "frames": 1}

    classes: tuple[str, ...] | None = None
    frames: int = 8000
    variant: str = "nano"
    reg_max: int = 12
    input: tuple[int, int] = (400, 640)
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
        height, width = self.input
        if min(height, width) < _LEAST_INPUT_PX:
            raise CodesignError(
                f"--input must have {_LEAST_INPUT_PX} pixels a side or more, not {height}x{width}"
            )
