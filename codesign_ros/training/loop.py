"""The steps of a training: progress, learning curve, measurements, checkpoints, resumption."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import Progress

from codesign_ros.training.averaged_run import RunConfig
from codesign_ros.types import CodesignError

_POINTS = 120  # of the learning curve, each a mean over the steps since the last
_MEASUREMENTS = 6  # the one at the end among them
_CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINT_EVERY_S = 60.0
_TIMED_STEPS = 6


class Trainer(Protocol):
    """What makes the steps; see ``averaged_run.AveragedRun``."""

    @property
    def config(self) -> RunConfig:
        """How it trains."""

    @property
    def steps_done(self) -> int:
        """Optimiser steps so far."""

    def step(self) -> Any:
        """Do one step; returns a dataclass with ``step``, ``loss`` and other numbers."""

    def save(self, path: Path, meta: dict[str, Any]) -> None:
        """Write a checkpoint."""

    def resume(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint; returns its ``meta``."""


class TrainingLoop:
    """One training from its first step, or from a checkpoint, to its last.

    Args:
        trainer: makes the steps.
        folder: where the checkpoint stands while the training runs.
        measure: measures the network as it is, as values by name.
        progress: where the bar is.

    Attributes:
        curve: points of the learning curve: ``step`` and means of what the steps returned.
        measured: what was measured, each with its ``step``.
        seconds: time spent in ``run``, that before an interruption included [s].
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        measure: Callable[[], dict[str, Any]],
        progress: Progress,
    ) -> None:
        self._trainer = trainer
        self._folder = folder
        self._measure = measure
        self._progress = progress
        self.curve: list[dict[str, float]] = []
        self.measured: list[dict[str, Any]] = []
        self.seconds = 0.0

    def run(self, *, resume: bool, planned_steps: int | None) -> None:
        """Do all steps.

        Args:
            resume: go on from the checkpoint.
            planned_steps: the number that was asked for; a checkpoint must be of as many. None =
                whatever fits into some time, which for a checkpoint has been found before.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options.
        """
        trainer = self._trainer
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodesignError(f"cannot write {self._folder}: {error.strerror}") from None
        file = self._folder / _CHECKPOINT
        if resume:
            self._restore(trainer.resume(file))
            if planned_steps not in (None, trainer.config.steps):
                raise CodesignError(
                    f"checkpoint {file} is of a run of {trainer.config.steps} steps, not "
                    f"{planned_steps}"
                )
        steps = trainer.config.steps
        task = self._progress.add_task("training", total=steps, completed=trainer.steps_done)
        points = {round((i + 1) * steps / _POINTS) for i in range(_POINTS)}
        measured = {round((i + 1) * steps / _MEASUREMENTS) for i in range(_MEASUREMENTS - 1)}
        since: list[dict[str, float]] = []
        before_s, begun = self.seconds, time.monotonic()
        saved = begun
        while trainer.steps_done < steps:
            since.append(asdict(trainer.step()))
            if trainer.steps_done in points:
                self.curve.append(_mean(since))
                since = []
                if not self._progress.console.is_terminal:  # a log shows no bar
                    self._progress.console.print(_line(self.curve[-1], steps))
            if trainer.steps_done in measured:
                self.note(self._measure())
            shown = self.curve[-1] if self.curve else since[-1]
            self._progress.update(
                task, advance=1, description=f"training, loss {shown['loss']:.2f}"
            )
            self.seconds = before_s + time.monotonic() - begun
            if time.monotonic() - saved > _CHECKPOINT_EVERY_S and not since:
                saved = time.monotonic()
                trainer.save(file, self._state())

    def note(self, values: dict[str, Any]) -> None:
        """Enter something that was measured now."""
        self.measured.append({"step": self._trainer.steps_done, **values})

    def remove_checkpoint(self) -> None:
        """Clear up; the bundle is written."""
        shutil.rmtree(self._folder)

    def _state(self) -> dict[str, Any]:
        return {"curve": self.curve, "measured": self.measured, "seconds": self.seconds}

    def _restore(self, state: dict[str, Any]) -> None:
        self.curve, self.measured = state["curve"], state["measured"]
        self.seconds = state["seconds"]


def steps_for(epochs: float, pictures: int, batch: int) -> int:
    """Return how many batches see each picture ``epochs`` times."""
    return max(1, math.ceil(epochs * pictures / batch))


def steps_that_fit(make_trainer: Callable[[int], Trainer], minutes: float) -> int:
    """Find how many steps fit into ``minutes``, by timing some of a trainer that is thrown away."""
    trainer = make_trainer(_TIMED_STEPS)
    times_s = []
    for _ in range(_TIMED_STEPS):
        before = time.monotonic()
        trainer.step()
        times_s.append(time.monotonic() - before)
    return max(1, int(minutes * 60 / np.median(times_s)))


def device_named(name: str) -> str:
    """Return the device for ``cpu``, ``cuda`` or ``auto``, which is a GPU if there is one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _mean(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average steps into one point, which stands at the last of them."""
    means = {key: float(np.mean([step[key] for step in steps])) for key in steps[0]}
    return {**means, "step": steps[-1]["step"]}


def _line(point: dict[str, float], steps: int) -> str:
    values = [
        f"{name.replace('_', ' ')} {value:.3f}"
        for name, value in point.items()
        if name not in ("step", "learning_rate")
    ]
    return f"step {point['step']:.0f} of {steps}: {', '.join(values)}"
