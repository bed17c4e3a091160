"""The steps of a training: progress, learning curve, measurements, checkpoints, resumption."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress, TaskID

from codesign_ros.training.averaged_run import AveragedRun
from codesign_ros.training.checkpoint import read_weights, write_weights
from codesign_ros.training.interruption import interruption
from codesign_ros.training.pace import Pace
from codesign_ros.types.errors import CodesignError

_POINTS = 120  # of the learning curve, each a mean over the steps since the last
_CHECKPOINT_EVERY_S = 60.0
_BEST = "best.safetensors"


class TrainingLoop:
    """One training from its first step, or from a checkpoint, to its last.

    Args:
        trainer: makes the steps.
        out: the bundle's directory; the checkpoint stands beside it while the training runs.
        command: what was asked for; the checkpoint holds it.
        measure: measures the network as it is, as values by name.
        score: of what was measured, the value that is to be high; None = there is none.
        progress: where the bar is.
        patience: the training stops when the best score is older than this share of its steps; 0 =
            it does not.
        start_counts: measure also what is there before the first step, which may be the best.

    Attributes:
        curve: points of the learning curve: ``step`` and means of what the steps returned.
        measured: what was measured, each with its ``step``.
        seconds: time spent, that before an interruption included [s].
        best_step: the step with the best score; its averaged weights are `best_weights`.
    """

    def __init__(
        self,
        trainer: AveragedRun,
        out: Path,
        command: Mapping[str, Any],
        measure: Callable[[], dict[str, Any]],
        score: Callable[[Mapping[str, Any]], float | None],
        progress: Progress,
        *,
        patience: float = 0.0,
        start_counts: bool = False,
    ) -> None:
        self._trainer = trainer
        self._out = out
        self._file = checkpoint_of(out)
        self._command = command
        self._measure = measure
        self._score = score
        self._patience = patience
        self._start_counts = start_counts
        self._progress = progress
        self.curve: list[dict[str, float]] = []
        self.measured: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.best_step: int | None = None
        self._best_score = -math.inf
        self._saved_at = -math.inf  # when a checkpoint was written, by the monotonic clock [s]
        self._since: list[dict[str, float]] = []  # steps since the last point of the curve

    def restore(self, planned_steps: int | None) -> None:
        """Go on from the checkpoint.

        Args:
            planned_steps: the number that was asked for; the checkpoint must be of as many. None =
                whatever fits into some time.

        Raises:
            CodesignError: the checkpoint cannot be read or is of a run with other options.
        """
        trainer = self._trainer
        self._restore(trainer.resume(self._file))
        if planned_steps not in (None, trainer.config.steps):
            raise CodesignError(
                f"checkpoint {self._file} is of a run of {trainer.config.steps} steps, not "
                f"{planned_steps}"
            )

    def run(self, pace: Pace) -> None:
        """Do all steps, measure, and leave a checkpoint.

        Args:
            pace: how many steps there are and when to measure.

        Raises:
            CodesignError: the checkpoint cannot be written; the training diverged or was
                interrupted.
        """
        trainer, folder = self._trainer, self._file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodesignError(f"cannot write {folder}: {error.strerror}") from None
        task = self._progress.add_task("training", total=pace.steps, completed=trainer.steps_done)
        self._saved_at = time.monotonic()
        with self._leaving_none_without_checkpoint(), interruption(self._progress.console) as came:
            # One thing at a time, each of which hangs on what is in a checkpoint alone: what an
            # interruption leaves out is due again on going on.
            while not came:
                if self._measurement_is_due(pace):
                    self._measure_now(pace)
                elif self._is_over():
                    break
                else:
                    self._step(pace, task)
                if time.monotonic() - self._saved_at > _CHECKPOINT_EVERY_S:
                    self._save(pace)
            if not came:
                self._end()
            self._save(pace)
            if came:
                raise self._interrupted(came[0])

    def _measurement_is_due(self, pace: Pace) -> bool:
        done, last = self._trainer.steps_done, self._last_measured
        if done == 0:
            return self._start_counts and not self.measured
        return last < done and (pace.measure_now(done, last) or self._is_over())

    def _is_over(self) -> bool:
        trainer = self._trainer
        return trainer.steps_done >= trainer.config.steps or self._has_stopped_improving()

    def _end(self) -> None:
        """Close the books behind the last step."""
        self._close_curve()
        done = self._trainer.steps_done
        if done < self._trainer.config.steps:
            self._progress.console.print(
                f"stopped after step {done}: nothing was better than step {self.best_step}"
            )

    def _save(self, pace: Pace) -> None:
        self.seconds, self._saved_at = pace.spent_s, time.monotonic()
        self._trainer.save(self._file, self._state())

    def _interrupted(self, number: int) -> CodesignError:
        """Say where a signal ended the training, and how it goes on."""
        done, steps = self._trainer.steps_done, self._trainer.config.steps
        # With --minutes the last step may be nearer than was thought before the interruption.
        place = f"{done} of {steps} steps" if done < steps else f"the last of {steps} steps"
        out = shlex.quote(str(self._out))
        error = CodesignError(f"interrupted after {place}; codesign train {out} --resume goes on")
        if number == signal.SIGTERM:
            error.status = 128 + number  # what a shell has of who ends by the signal
        return error

    def _step(self, pace: Pace, task: TaskID) -> None:
        """Do a step and show it."""
        trainer, before = self._trainer, time.monotonic()
        self._since.append(trainer.step())
        done = trainer.steps_done
        if not math.isfinite(self._since[-1]["loss"]):
            raise CodesignError(
                f"the training diverged: the loss of step {done} is "
                f"{self._since[-1]['loss']}; take a lower --learning-rate than "
                f"{trainer.config.learning_rate:g}"
            )
        pace.stepped(done, time.monotonic() - before)
        if pace.steps != trainer.config.steps:
            trainer.config = replace(trainer.config, steps=pace.steps)
        if done * _POINTS // pace.steps > (done - 1) * _POINTS // pace.steps:
            self._close_curve()
        shown = self.curve[-1] if self.curve else self._since[-1]
        self._progress.update(
            task,
            completed=done,
            total=pace.steps,
            description=f"training, loss {shown['loss']:.2f}",
        )

    def _close_curve(self) -> None:
        """Make a point of the learning curve of the steps since the last one."""
        if not self._since:
            return
        self.curve.append(_mean(self._since))
        self._since = []
        if not self._progress.console.is_terminal:  # a log shows no bar
            self._progress.console.print(_line(self.curve[-1], self._trainer.config.steps))

    @property
    def _last_measured(self) -> int:
        return int(self.measured[-1]["step"]) if self.measured else 0

    def _measure_now(self, pace: Pace) -> None:
        """Measure, and keep the averaged weights if they are the best so far."""
        before = time.monotonic()
        values = self._measure()
        self.note(values, self._trainer.steps_done)
        score = self._score(values)
        if score is not None and score >= self._best_score:
            self._best_score, self.best_step = score, self._trainer.steps_done
            write_weights(self._file.with_name(_BEST), self._trainer.averaged())
            self._save(pace)  # which says whose weights these are
        pace.measured(time.monotonic() - before)
        if score is not None and not self._progress.console.is_terminal:
            self._progress.console.print(f"step {self._last_measured}: measured {score:.4f}")

    def _has_stopped_improving(self) -> bool:
        # What is better than a good start may come late, when the rate has fallen.
        if not self._patience or not self.best_step:
            return False
        waited = self._last_measured - self.best_step
        return waited > self._patience * self._trainer.config.steps

    @property
    def kept_step(self) -> int:
        """The step whose averaged weights are to be kept: that with the best score, or the last."""
        return self._trainer.steps_done if self.best_step is None else self.best_step

    def choice(self) -> str:
        """Say whose weights are kept, and why where the start was measured."""
        kept, done = self.kept_step, self._trainer.steps_done
        words = f"the weights after step {kept} of {done}" if kept else "the weights of the start"
        if self.measured[0]["step"] > 0:
            return words
        scores = {each["step"]: self._score(each) or 0.0 for each in self.measured}
        best = max((step for step in scores if step), key=lambda step: (scores[step], step))
        return (
            f"{words}: the start measured {scores[0]:.4f}, step {best} measured {scores[best]:.4f}"
        )

    def best_weights(self) -> dict[str, torch.Tensor] | None:
        """Return the averaged weights of `kept_step`; None = those of the last step."""
        if self.kept_step == self._trainer.steps_done:
            return None
        return read_weights(self._file.with_name(_BEST))

    def note(self, values: dict[str, Any], step: int) -> None:
        """Enter something that was measured of the weights after a step."""
        self.measured.append({"step": step, **values})

    @contextlib.contextmanager
    def _leaving_none_without_checkpoint(self) -> Iterator[None]:
        """Take away the checkpoint's folder where there is none to go on from."""
        try:
            yield
        finally:
            if not self._file.exists():
                shutil.rmtree(self._file.parent, ignore_errors=True)

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
            "best": [self.best_step, self._best_score if self.best_step is not None else None],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.curve, self.measured = state["curve"], state["measured"]
        self._since, self.seconds = state["since"], state["seconds"]
        step, score = state.get("best", (None, None))
        if step is not None:
            self.best_step, self._best_score = step, score


def checkpoint_of(out: Path) -> Path:
    """Where the checkpoint of a training that makes the bundle ``out`` stands."""
    return out.with_name(out.name + ".training") / "checkpoint.safetensors"


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
