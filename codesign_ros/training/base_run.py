"""Steps, measurements and time of a training, whatever it trains and writes."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console, RenderableType
from rich.progress import Progress

from codesign_ros.bundle import Bundle, check_place
from codesign_ros.console import progress_bar
from codesign_ros.training.averaged_run import AveragedRun
from codesign_ros.training.loop import TrainingLoop
from codesign_ros.training.options import TrainingOptions, free_cores, plain
from codesign_ros.training.pace import Pace, steps_that_fit
from codesign_ros.types.errors import CodesignError

_TIMED_STEPS = 6


class BaseRun(ABC):
    """One training with its checkpoint.

    Args:
        out: the bundle's directory; the checkpoint stands beside it (``OUT.training``).
        options: how to train.
        progress: where bars are shown.
    """

    task: ClassVar[str]
    judge_passes: float = 1.0
    """What judging what was trained takes, in measurements."""

    def __init__(self, out: Path, options: TrainingOptions, progress: Progress) -> None:
        self.out = out
        self.options = options
        self.progress = progress

    def train(self, pictures: int) -> None:
        """Do all steps.

        Args:
            pictures: how many there are, for ``epochs``.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options; or the training diverged.
        """
        options = self.options
        begun = time.monotonic()
        planned = options.planned_steps(pictures / self.pictures_a_step())
        budget_s = None if planned is not None else 60 * (options.minutes or 0.0)
        steps, measure_s = planned or 1, 0.0
        if budget_s is not None and not options.resume:
            steps, measure_s = self._steps_that_fit(budget_s)
        self._trainer = self.make_trainer(steps)
        command = {"task": self.task, **plain(options)}
        loop = self._loop = TrainingLoop(
            self._trainer,
            self.out,
            command,
            self.measure,
            self.score,
            self.progress,
            patience=options.patience,
            start_counts=self.start_counts(),
        )
        if options.resume:
            loop.restore(planned)
        pace = Pace(
            self._trainer.config.steps,
            budget_s=budget_s,
            spent_s=loop.seconds + time.monotonic() - begun,
            measure_s=measure_s,
            judge_passes=self.judge_passes,
        )
        loop.run(pace)

    @abstractmethod
    def make_trainer(self, steps: int) -> AveragedRun:
        """Make what does the steps."""

    @abstractmethod
    def measure(self) -> dict[str, Any]:
        """Measure the averaged network as it is, as values by name."""

    def score(self, values: Mapping[str, Any]) -> float | None:
        """Return of what `measure` found the value that is to be high; None = there is none."""
        return None

    def start_counts(self) -> bool:
        """Whether what is there before the first step may be what is kept."""
        return False

    def pictures_a_step(self) -> float:
        """Return how many pictures a step sees, on the average."""
        return float(self.options.batch_frames)

    @abstractmethod
    def write(self) -> Iterable[RenderableType]:
        """Measure what was trained, write the bundle, remove the checkpoint.

        Returns:
            What there is to show.
        """

    def _steps_that_fit(self, budget_s: float) -> tuple[int, float]:
        """Guess how many steps fit, and what a measurement takes [s], by trying out.

        The trainer of the trial is thrown away.
        """
        trainer = self._trainer = self.make_trainer(_TIMED_STEPS)
        times_s = []
        for _ in range(_TIMED_STEPS):
            before = time.monotonic()
            trainer.step()
            times_s.append(time.monotonic() - before)
        before = time.monotonic()
        self.measure()
        measure_s = time.monotonic() - before
        other_passes = self.judge_passes + self.start_counts()
        return steps_that_fit(budget_s, times_s, measure_s, other_passes), measure_s


def train(
    out: Path,
    options: TrainingOptions,
    console: Console,
    open_run: Callable[[Path, Any, Progress], AbstractContextManager[tuple[BaseRun, int]]],
) -> Bundle:
    """Train, and write a bundle.

    Args:
        out: the bundle's directory.
        options: how to train.
        console: where progress and results are printed.
        open_run: opens the task's data; gives the run and how many pictures there are.

    Raises:
        CodesignError: an option makes no sense, the data cannot be read, ``out`` cannot be written,
            or the training was interrupted or diverged.
    """
    options.check()
    check_place(out)
    start = time.monotonic()
    threads = options.threads or free_cores()
    options = replace(options, threads=threads)
    torch.set_num_threads(threads)
    with (
        progress_bar(console) as progress,
        open_run(out, options, progress) as (run, pictures),
    ):
        run.train(pictures)
        try:
            shown = run.write()
        except KeyboardInterrupt:
            raise CodesignError(
                "interrupted while the trained network was measured; codesign train "
                f"{shlex.quote(str(out))} --resume goes on"
            ) from None
    for each in shown:
        console.print(each)
    console.print(f"{(time.monotonic() - start) / 60:.1f} minutes")
    return Bundle.open(out)
