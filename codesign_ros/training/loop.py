"""The steps of a training: progress, learning curve, measurements, checkpoints, resumption."""

from __future__ import annotations

import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from codesign_ros.training.averaged_run import AveragedRun
from codesign_ros.types import CodesignError

_POINTS = 120  # of the learning curve, each a mean over the steps since the last
_MEASUREMENTS = 6  # the one at the end among them
_CHECKPOINT_EVERY_S = 60.0


class TrainingLoop:
    """One training from its first step, or from a checkpoint, to its last.

    Args:
        trainer: makes the steps.
        out: the bundle's directory; the checkpoint stands beside it while the training runs.
        command: what was asked for; the checkpoint holds it.
        measure: measures the network as it is, as values by name.
        progress: where the bar is.

    Attributes:
        curve: points of the learning curve: ``step`` and means of what the steps returned.
        measured: what was measured, each with its ``step``.
        seconds: time spent in ``run``, that before an interruption included [s].
    """

    def __init__(
        self,
        trainer: AveragedRun,
        out: Path,
        command: Mapping[str, Any],
        measure: Callable[[], dict[str, Any]],
        progress: Progress,
    ) -> None:
        self._trainer = trainer
        self._out = out
        self._file = checkpoint_of(out)
        self._command = command
        self._measure = measure
        self._progress = progress
        self.curve: list[dict[str, float]] = []
        self.measured: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._since: list[dict[str, float]] = []  # steps since the last point of the curve

    def run(self, *, resume: bool, planned_steps: int | None) -> None:
        """Do all steps.

        Args:
            resume: go on from the checkpoint.
            planned_steps: the number that was asked for; a checkpoint must be of as many. None =
                whatever fits into some time, which for a checkpoint has been found before.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options; the training diverged or was interrupted.
        """
        trainer = self._trainer
        try:
            file = self._file
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodesignError(f"cannot write {file.parent}: {error.strerror}") from None
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
        before_s, begun = self.seconds, time.monotonic()
        saved = begun
        with _interruption() as interrupted:
            while trainer.steps_done < steps:
                self._since.append(trainer.step())
                if not math.isfinite(self._since[-1]["loss"]):
                    raise CodesignError(
                        f"the training diverged: the loss of step {trainer.steps_done} is "
                        f"{self._since[-1]['loss']}; take a lower --learning-rate than "
                        f"{trainer.config.learning_rate:g}"
                    )
                if trainer.steps_done in points:
                    self.curve.append(_mean(self._since))
                    self._since = []
                    if not self._progress.console.is_terminal:  # a log shows no bar
                        self._progress.console.print(_line(self.curve[-1], steps))
                if trainer.steps_done in measured:
                    self.note(self._measure())
                shown = self.curve[-1] if self.curve else self._since[-1]
                self._progress.update(
                    task, advance=1, description=f"training, loss {shown['loss']:.2f}"
                )
                self.seconds = before_s + time.monotonic() - begun
                if time.monotonic() - saved > _CHECKPOINT_EVERY_S:
                    saved = time.monotonic()
                    trainer.save(file, self._state())
                if interrupted.is_set():
                    trainer.save(file, self._state())
                    raise CodesignError(
                        f"interrupted after {trainer.steps_done} of {steps} steps; codesign train "
                        f"{self._out} --resume goes on"
                    )

    def note(self, values: dict[str, Any]) -> None:
        """Enter something that was measured now."""
        self.measured.append({"step": self._trainer.steps_done, **values})

    def remove_checkpoint(self) -> None:
        """Clear up; the bundle is written."""
        shutil.rmtree(self._file.parent)

    def _state(self) -> dict[str, Any]:
        return {
            "command": self._command,
            "curve": self.curve,
            "since": self._since,
            "measured": self.measured,
            "seconds": self.seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.curve, self.measured = state["curve"], state["measured"]
        self._since, self.seconds = state["since"], state["seconds"]


def checkpoint_of(out: Path) -> Path:
    """Where the checkpoint of a training that makes the bundle ``out`` stands."""
    return out.with_name(out.name + ".training") / "checkpoint.safetensors"


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Note a Ctrl-C, which then ends no step half-way; a second one ends the program."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        interrupted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


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
