"""What every training can be told; the tasks add options of their own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from codesign_ros.data.classes import ClassChoice
from codesign_ros.training.checkpoint import read_header
from codesign_ros.training.loop import checkpoint_of
from codesign_ros.types.errors import CodesignError

MINE = "mine"
"""As ``data``: scenes of the synthetic mine."""

OptionsT = TypeVar("OptionsT", bound="TrainingOptions")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of a training; None stands for a default that depends on the others.

    Attributes:
        data: what is learned from.
        seed: of generated data, the first weights, the order and the augmentation.
        val_frames: pictures to measure on, at most.
        steps: optimiser steps; None = as many as ``epochs`` or ``minutes`` ask for.
        epochs: how often each picture is seen; None = by ``minutes``, or ``usual_epochs``.
        minutes: time for steps and measurements; as many steps as fit, counted anew as they go.
            Drawing the mine's scenes comes on top.
        batch_frames: pixels of a step, in whole pictures.
        learning_rate: its peak; None = what the task usually takes.
        init: bundle whose weights to start from, where names and shapes are the same.
        resume: go on from the checkpoint of an interrupted run with the same options.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        threads: processor cores to use; None = those that are idle, see `free_cores`.
        patience: the training stops when the best measurement is older than this share of its
            steps; 0 = it does not.
    """

    what: ClassVar[str] = "a training"
    usual_epochs: ClassVar[float] = 1.0
    least: ClassVar[Mapping[str, int]] = {
        "seed": 0, "val_frames": 1, "steps": 1, "batch_frames": 1, "threads": 1
    }  # fmt: skip

    data: str = MINE
    seed: int = 1
    val_frames: int = 200
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_frames: int = 4
    learning_rate: float | None = None
    init: Path | None = None
    resume: bool = False
    device: str = "auto"
    threads: int | None = None
    patience: float = 0.4

    @classmethod
    def given(cls: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
        """Make options of what the command line has.

        Args:
            values: the options that were given, by name.

        Raises:
            CodesignError: this training has no such option.
        """
        known = {field.name for field in fields(cls)}
        if unknown := [name for name in values if name not in known]:
            flags = ", ".join(_flag(name) for name in sorted(known - {"data"}))
            raise CodesignError(f"{cls.what} has no {_flag(unknown[0])}; it takes {flags}")
        return cls(**values)

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        for name, least in self.least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise CodesignError(f"{_flag(name)} must be at least {least}, not {value}")
        for name in ("epochs", "minutes", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise CodesignError(f"{_flag(name)} must be more than 0 and finite, not {value}")
        if not 0 <= self.patience <= 1:
            raise CodesignError(f"--patience must be a share, 0 to 1, not {self.patience}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise CodesignError(f"--device must be auto, cpu or cuda, not {self.device}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CodesignError("torch finds no CUDA device here; take --device cpu")

    @property
    def config(self) -> dict[str, Any]:
        """What a run's configuration has of the options, beside the number of steps."""
        return {name: getattr(self, name) for name in ("batch_frames", "learning_rate", "seed")}

    @property
    def torch_device(self) -> str:
        """The device for ``device``."""
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def planned_steps(self, steps_an_epoch: float) -> int | None:
        """Return the number of steps that was asked for; None = as many as fit into ``minutes``.

        Args:
            steps_an_epoch: in how many steps each picture is seen once.
        """
        if self.steps is not None or (self.epochs is None and self.minutes is not None):
            return self.steps
        epochs = self.usual_epochs if self.epochs is None else self.epochs
        return max(1, math.ceil(epochs * steps_an_epoch))


@dataclass(frozen=True, kw_only=True)
class ClassOptions:
    """Options of a training whose data have names of classes.

    Attributes:
        map: new names for classes of the data, see ``ClassChoice.given``.
        classes: names to learn, in this order, likewise; None = all that the data has.
        ignore_unknown: learn only what `map` or `classes` names.
    """

    map: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    ignore_unknown: bool = False

    @property
    def class_choice(self) -> ClassChoice:
        """Which classes are learnt, and what they are called.

        Raises:
            CodesignError: an option is not written as it should be.
        """
        return ClassChoice.given(self.map, self.classes, self.ignore_unknown)


def free_cores() -> int:
    """Return how many cores are idle, by the load of the last minute; at least 1."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, round(cores - os.getloadavg()[0])))


def plain(options: TrainingOptions) -> dict[str, Any]:
    """Return the options as JSON has them."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(options), default=str))
    return found


def resumed(out: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an interrupted run, from its checkpoint.

    Args:
        out: the bundle that it makes.
        given: what was said on resuming; where and with how many threads it computes may change.

    Raises:
        CodesignError: there is no checkpoint, or something that was given is not the run's.
    """
    file = checkpoint_of(out)
    _, state = read_header(file)
    try:
        command: dict[str, Any] = dict(state["caller"]["command"])
    except (KeyError, TypeError, ValueError):
        raise CodesignError(f"checkpoint {file} is of an older version: start anew") from None
    free = ("resume", "device", "threads")
    for name, value in json.loads(json.dumps(given, default=str)).items():
        if name not in free and value != command.get(name):
            raise CodesignError(
                f"{_flag(name)} {value} is not what the interrupted run has "
                f"({command.get(name)}): leave it out, or start anew without --resume"
            )
    return {**command, **{name: given[name] for name in free if name in given}}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
