"""What ``codesign train`` takes for a classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class ClassifierOptions:
    """Options of a training; None stands for a default that depends on the others.

    Attributes:
        seed: of the first weights, the order and the augmentation.
        val_frames: pictures to measure on, at most.
        steps: optimiser steps; None = as many as ``epochs`` or ``minutes`` ask for.
        epochs: how often each picture is seen; None = by ``minutes``, or ten times.
        minutes: time for training; as many steps as fit, found by timing some.
        batch_frames: pictures of a step.
        learning_rate: its peak.
        architecture: name for ``zoo.build``.
        architecture_args: its arguments beside ``classes``.
        input: (height, width) of the network's input [px]; None = that of the pictures, or
            224 x 224 where they differ.
        init: bundle of a classifier to start from instead: its architecture, its input and those of
            its weights that fit.
        resume: go on from the checkpoint of an interrupted run with the same options.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        threads: processor cores to use.
    """

    seed: int = 1
    val_frames: int = 1000
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_frames: int = 64
    learning_rate: float = 2e-3
    architecture: str = "mine_repvgg"
    architecture_args: Mapping[str, Any] = field(default_factory=dict)
    input: tuple[int, int] | None = None
    init: Path | None = None
    resume: bool = False
    device: str = "auto"
    threads: int = 2

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        for name, least in (("val_frames", 1), ("batch_frames", 2), ("threads", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise CodesignError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("steps", "epochs", "minutes", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise CodesignError(f"{name} must be more than 0 and finite, not {value}")
        if self.input is not None and min(self.input) < 1:
            raise CodesignError(f"the input must have pixels, not {self.input}")
        if self.init is not None and (self.input is not None or self.architecture_args):
            raise CodesignError("the bundle to start from fixes the input and the architecture")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CodesignError("torch finds no CUDA device here; take the cpu")
