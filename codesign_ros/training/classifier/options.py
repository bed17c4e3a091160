"""What ``codesign train`` takes for a classifier beside what every training takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from codesign_ros.training.options import ClassOptions, TrainingOptions
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(TrainingOptions, ClassOptions):
    """Options of a classifier's training on pictures of other people's.

    Attributes:
        learning_rate: its peak.
        architecture: name for ``zoo.build``.
        architecture_args: its arguments beside ``classes``.
        input: (height, width) of the network's input [px]; None = that of the pictures, or
            224 x 224 where they differ.
        init: bundle of a classifier to start from instead: its architecture, its input and those of
            its weights that fit.
    """

    what: ClassVar[str] = "the training of a classifier on pictures of your own"
    usual_epochs: ClassVar[float] = 10.0
    least: ClassVar[Mapping[str, int]] = {**TrainingOptions.least, "batch_frames": 2}

    val_frames: int = 1000
    batch_frames: int = 64
    learning_rate: float = 2e-3
    architecture: str = "mine_repvgg"
    architecture_args: Mapping[str, Any] = field(default_factory=dict)
    input: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        super().check()
        if self.input is not None and min(self.input) < 1:
            raise CodesignError(f"the input must have pixels, not {self.input}")
        if self.init is not None and (self.input is not None or self.architecture_args):
            raise CodesignError("the bundle to start from fixes the input and the architecture")
