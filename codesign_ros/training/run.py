"""A training from data to a bundle: what all tasks have in common (``codesign train``)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from rich.console import Console, RenderableType
from rich.progress import Progress

from codesign_ros.bundle import Bundle, check_place, write_bundle
from codesign_ros.console import progress_bar
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.training.averaged_run import AveragedRun
from codesign_ros.training.curves import CURVE_PICTURE, draw_curves, write_curves
from codesign_ros.training.loop import TrainingLoop
from codesign_ros.training.options import TrainingOptions, free_cores, plain
from codesign_ros.training.pace import Pace, steps_that_fit
from codesign_ros.training.transfer import start_from
from codesign_ros.types import CodesignError, InputSpec

CALIBRATION_FRAMES = 16
"""Frames that a bundle holds for INT8 and BatchNorm."""

_TIMED_STEPS = 6


class TrainingRun(ABC):
    """One training with its checkpoint and its curves; a task fills in the rest.

    Attributes:
        architecture: name for ``zoo.build``.
        args: arguments of the architecture.
        spec: the network's input.
        classes: names of the classes.
        trained_on: what is learned from, in a few words.
        measured_on: what is measured on.
        panels: for each panel of the picture, what curves are in it: name and key of a step.

    Args:
        out: the bundle's directory; the checkpoint stands beside it (``OUT.training``).
        options: how to train.
        progress: where bars are shown.
    """

    task: ClassVar[str]
    judge_passes: ClassVar[float] = 1.0
    """What `judge` takes, in measurements."""
    panels: ClassVar[Mapping[str, Mapping[str, str]]]
    architecture: str
    args: dict[str, Any]
    spec: InputSpec
    classes: tuple[str, ...]
    trained_on: str
    measured_on: str

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

    def averaged(self) -> Network:
        """Return the averaged network as it is, wherever it is computed; not a copy."""
        return self._trainer.averaged()

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(self.architecture, self.args, self.spec)
        network.load_state_dict(self.averaged().state_dict())
        return network.eval()

    def best(self) -> Network:
        """Return a new network with the averaged weights that measured best, likewise."""
        network = self.trained()
        weights = self._loop.best_weights()
        if weights is not None:
            network.load_state_dict(weights)
        return network

    def write(self, network: Network) -> Iterable[RenderableType]:
        """Measure the trained network, write the bundle with its curves, remove the checkpoint.

        Returns:
            What there is to show.
        """
        table, values, shown = self.judge(network)
        bundle = write_bundle(
            self.out,
            network,
            name=self.out.name.removesuffix(".bundle"),
            architecture=self.architecture,
            architecture_args=self.args,
            classes=self.classes,
            accuracy=table,
            calibration_frames=self.calibration_frames(),
            task=self.task,
        )
        loop = self._loop
        loop.note(values, loop.best_step or self._trainer.steps_done)
        document = {
            "command": plain(self.options),
            "config": asdict(self._trainer.config),
            "classes": list(self.classes),
            "trained_on": self.trained_on,
            "measured_on": self.measured_on,
            "training_minutes": round(loop.seconds / 60, 2),
            "measured": loop.measured,
            "curve": loop.curve,
        }
        write_curves(self.out, document)
        curves = {
            panel: {
                name: [(int(point["step"]), point[key]) for point in loop.curve]
                for name, key in keys.items()
            }
            for panel, keys in self.panels.items()
        }
        panel, measured = self.measured_curves(loop.measured)
        curves.setdefault(panel, {}).update(measured)
        curves["learning rate"] = {
            "rate": [(int(p["step"]), p["learning_rate"]) for p in loop.curve]
        }
        draw_curves(self.out / CURVE_PICTURE, curves, f"{self.out.name}: {self.trained_on}")
        loop.remove_checkpoint()
        return (*shown, f"{self.out}: model {bundle.model_id}")

    def start_network(self) -> Network:
        """Make the network that training starts from, with those of ``init``'s weights that fit."""
        network = build(self.architecture, self.args, self.spec)
        if self.options.init is not None:
            bundle = Bundle.open(self.options.init)
            count, of = start_from(bundle, network, self.architecture, self.classes)
            self.progress.console.print(f"{count} of {of} tensors start from {bundle.path}")
        return network

    @abstractmethod
    def make_trainer(self, steps: int) -> AveragedRun:
        """Make what does the steps."""

    @abstractmethod
    def measure(self) -> dict[str, Any]:
        """Measure the averaged network as it is, as values by name."""

    def score(self, values: Mapping[str, Any]) -> float | None:
        """Return of what `measure` found the value that is to be high; None = there is none."""
        return None

    def pictures_a_step(self) -> float:
        """Return how many pictures a step sees, on the average."""
        return float(self.options.batch_frames)

    @abstractmethod
    def judge(
        self, network: Network
    ) -> tuple[AccuracyTable, dict[str, Any], Sequence[RenderableType]]:
        """Measure the trained network: for the bundle, for the curves, and for people."""

    @abstractmethod
    def measured_curves(self, measured: Sequence[Mapping[str, Any]]) -> tuple[str, dict]:
        """Return the panel in which measurements are drawn, and points by name of the curve."""

    @abstractmethod
    def calibration_frames(self) -> np.ndarray:
        """Return letterboxed training pictures, uint8 (n, H, W, 3)."""

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
        return steps_that_fit(budget_s, times_s, measure_s, self.judge_passes), measure_s


def train(
    out: Path,
    options: TrainingOptions,
    console: Console,
    open_run: Callable[[Path, Any, Progress], AbstractContextManager[tuple[TrainingRun, int]]],
) -> Bundle:
    """Train a network and write it as a bundle.

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
            shown = run.write(run.best())
        except KeyboardInterrupt:
            raise CodesignError(
                f"interrupted while the trained network was measured; codesign train {out} "
                "--resume goes on"
            ) from None
    for each in shown:
        console.print(each)
    console.print(f"{(time.monotonic() - start) / 60:.1f} minutes")
    return Bundle.open(out)
