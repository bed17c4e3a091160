"""What ``codesign train`` takes for a detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from codesign_ros.training.detector.data import MINE
from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class DetectorOptions:
    """Options of a training; None stands for a default that depends on the others.

    Attributes:
        data: ``mine``, or a data set in VOC, COCO or YOLO layout.
        classes: names to learn, in this order; None = all that the data has.
        seed: of the scenes, the first weights, the order and the augmentation.
        frames: scenes of the mine to train on; 768 kB each in the temporary directory.
        val_frames: pictures to measure on, at most.
        steps: optimiser steps; None = as many as ``epochs`` or ``minutes`` ask for.
        epochs: how often each picture is seen; None = by ``minutes``.
        minutes: time for training; as many steps as fit, found by timing some.
        batch_frames: pixels of a batch, in whole frames.
        learning_rate: its peak; None = 0.002, or a quarter of it where ``init`` is a start.
        variant: width of the network, see ``models.zoo.yolo``.
        reg_max: likewise.
        height: of the network's input [px].
        width: of the network's input [px].
        init: bundle whose weights to start from, where names and shapes are the same.
        resume: go on from the checkpoint of an interrupted run with the same options.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        threads: processor cores to use.
    """

    data: str = MINE
    classes: tuple[str, ...] | None = None
    seed: int = 1
    frames: int = 8000
    val_frames: int = 200
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_frames: int = 4
    learning_rate: float | None = None
    variant: str = "nano"
    reg_max: int = 12
    height: int = 400
    width: int = 640
    init: Path | None = None
    resume: bool = False
    device: str = "auto"
    threads: int = 2

    @property
    def peak_rate(self) -> float:
        """The peak of the learning rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 2e-3 if self.init is None else 5e-4

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        for name in ("frames", "val_frames", "batch_frames", "threads"):
            if getattr(self, name) < 1:
                raise CodesignError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("steps", "epochs", "minutes", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise CodesignError(f"{name} must be more than 0, not {value}")
        if self.seed < 0:
            raise CodesignError(f"the seed must be 0 or more, not {self.seed}")
        if min(self.height, self.width) < 32:
            raise CodesignError(
                f"the input must be at least 32 x 32 pixels, not {self.height} x {self.width}"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CodesignError("torch finds no CUDA device here; take --device cpu")
