"""From a seed to a bundle: render scenes, train, measure on others, write (``codesign train``).

Without ``minutes`` the number of steps is fixed, and the same seed gives the same weights on the
same machine. With it there are as many steps as fit, found by timing a few beforehand.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.console import progress_bar
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.evaluation.accuracy_table import measure_accuracy
from codesign_ros.evaluation.classification import accuracy, confusion_matrix, recalls
from codesign_ros.mine.render import CLASSES
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.training.curves import write_curves
from codesign_ros.training.mine_classifier.trainer import (
    Trainer,
    TrainingConfig,
    TrainingStep,
    classify,
)
from codesign_ros.training.scenes import SceneSet, render_scenes
from codesign_ros.types import CodesignError, InputSpec

ARCHITECTURE = "mine_repvgg"
ARCHITECTURE_ARGS = {"classes": len(CLASSES)}
INPUT = InputSpec(HEIGHT, WIDTH, mean=(0.24, 0.24, 0.24), std=(0.12, 0.12, 0.12))

# Added to the training seed for the scenes that measure: no scene is in both.
_OTHER_SEED = 1_000_000
# JPEGs among the scenes (the odd ones): with less noise eight of them make 3 MB, not 4.
_CALIBRATION = slice(1, 17, 2)
# Steps timed for a time budget, and the share of the budget that is not planned.
_TIMED_STEPS = 12
_TIMED_FRAMES = 4
_RESERVE = 0.07
# Points of the learning curve that are kept, each a mean over the steps since the last.
_CURVE_POINTS = 40


@dataclass(frozen=True)
class TrainOptions:
    """What ``codesign train`` takes.

    Attributes:
        seed: of the scenes, the first weights and the augmentation.
        frames: training scenes; 768 kB each in the temporary directory.
        steps: optimiser steps, where ``minutes`` is None.
        minutes: time for everything, rendering and measuring included; None = ``steps`` steps.
        measure_frames: scenes of another seed that the accuracy is measured on.
        threads: processor cores to use.
    """

    seed: int = 1
    frames: int = 6000
    steps: int = 5000
    minutes: float | None = None
    measure_frames: int = 1500
    threads: int = 2

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        for name in ("frames", "steps", "measure_frames", "threads"):
            if getattr(self, name) < 1:
                raise CodesignError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.seed < 0:
            raise CodesignError(f"the seed must be 0 or more, not {self.seed}")
        if self.minutes is not None and not self.minutes > 0:
            raise CodesignError(f"minutes must be more than 0, not {self.minutes}")


def train_bundle(out: Path, options: TrainOptions, console: Console) -> Bundle:
    """Train ``mine_repvgg`` on generated scenes and write it as a bundle.

    Prints progress, and at the end the learning curve, confusion and accuracy table.

    Raises:
        CodesignError: an option makes no sense, the disk is too small, ``out`` cannot be written,
            or ``minutes`` do not suffice for one step.
    """
    options.check()
    start = time.monotonic()
    torch.set_num_threads(options.threads)
    with (
        tempfile.TemporaryDirectory(prefix="codesign_train_") as folder,
        progress_bar(console) as progress,
    ):
        scenes = _rendered(Path(folder) / "train", options.seed, options.frames, options, progress)
        other_seed = options.seed + _OTHER_SEED
        others = _rendered(
            Path(folder) / "measure", other_seed, options.measure_frames, options, progress
        )
        steps = options.steps
        if options.minutes is not None:
            steps = _steps_that_fit(options, scenes, others, start)
        config = TrainingConfig(steps=steps, seed=options.seed)
        network, curve = _trained(scenes, config, progress)
        table = _measured(network, others, options, other_seed, progress)
        confusion = confusion_matrix(others.labels, classify(network, others.images), len(CLASSES))
        bundle = write_bundle(
            out,
            network,
            name=ARCHITECTURE,
            architecture=ARCHITECTURE,
            architecture_args=ARCHITECTURE_ARGS,
            classes=CLASSES,
            accuracy=table,
            calibration_frames=np.array(scenes.images[_CALIBRATION]),
        )
    minutes = (time.monotonic() - start) / 60
    curve_document = {
        "command": asdict(options),
        "config": asdict(config),
        "minutes": round(minutes, 2),
        "measured_on": table.data,
        "confusion": confusion.tolist(),
        "curve": [asdict(point) for point in curve],
    }
    write_curves(out, curve_document)
    _report(console, curve, confusion, table)
    console.print(f"{out}: model {bundle.model_id}, {minutes:.1f} minutes")
    return bundle


def _make_network() -> Network:
    return build(ARCHITECTURE, ARCHITECTURE_ARGS, INPUT)


def _rendered(
    file: Path, seed: int, frames: int, options: TrainOptions, progress: Progress
) -> SceneSet:
    task = progress.add_task(f"scenes of seed {seed}", total=frames)
    return render_scenes(
        file,
        seed,
        frames,
        processes=options.threads,
        on_rendered=lambda count: progress.advance(task, count),
    )


def _steps_that_fit(options: TrainOptions, scenes: SceneSet, others: SceneSet, start: float) -> int:
    """Find how many steps leave time for measuring, by timing both on a few frames.

    Raises:
        CodesignError: not even one does.
    """
    assert options.minutes is not None
    trainer = Trainer(_make_network, scenes, TrainingConfig(steps=_TIMED_STEPS))
    step_s = float(np.median([trainer.step().step_s for _ in range(_TIMED_STEPS)]))
    network = trainer.network()

    def measuring_s(count: int) -> float:
        before = time.monotonic()
        images, labels = others.images[:count], others.labels[:count]
        measure_accuracy(network, images, labels, data="", threads=options.threads)
        return time.monotonic() - before

    # Making the engines takes seconds however many frames follow, and the first call loads modules.
    measuring_s(1)
    one_s, some_s = measuring_s(1), measuring_s(1 + _TIMED_FRAMES)
    frame_s = max(0.0, some_s - one_s) / _TIMED_FRAMES
    measure_s = one_s + frame_s * len(others.labels)
    left_s = options.minutes * 60 * (1 - _RESERVE) - (time.monotonic() - start) - measure_s
    if left_s < step_s:
        raise CodesignError(
            f"{options.minutes:g} minutes are too few: rendering {options.frames} and measuring "
            f"{options.measure_frames} scenes take them all; take fewer frames or more minutes"
        )
    return int(left_s / step_s)


def _trained(
    scenes: SceneSet, config: TrainingConfig, progress: Progress
) -> tuple[Network, list[TrainingStep]]:
    trainer = Trainer(_make_network, scenes, config)
    task = progress.add_task("training", total=config.steps)
    points = min(_CURVE_POINTS, config.steps)
    ends = {round((i + 1) * config.steps / points) for i in range(points)}
    curve: list[TrainingStep] = []
    since: list[TrainingStep] = []
    for _ in range(config.steps):
        since.append(trainer.step())
        if since[-1].step in ends:
            curve.append(_mean(since))
            since = []
            if not progress.console.is_terminal:  # a log shows no bar
                progress.console.print(
                    f"step {curve[-1].step}: loss {curve[-1].loss:.3f}, "
                    f"accuracy {curve[-1].accuracy:.1%}"
                )
        shown = curve[-1] if curve else since[-1]
        progress.update(
            task,
            advance=1,
            description=f"training, loss {shown.loss:.2f}, accuracy {shown.accuracy:.0%}",
        )
    return trainer.network(), curve


def _mean(steps: Sequence[TrainingStep]) -> TrainingStep:
    """Average steps into one point, which stands at the last of them."""
    names = [field.name for field in fields(TrainingStep) if field.name != "step"]
    means = {name: float(np.mean([getattr(s, name) for s in steps])) for name in names}
    return TrainingStep(step=steps[-1].step, **means)


def _measured(
    network: Network, scenes: SceneSet, options: TrainOptions, seed: int, progress: Progress
) -> AccuracyTable:
    task = progress.add_task("measuring accuracy", total=None)
    return measure_accuracy(
        network,
        scenes.images,
        scenes.labels,
        data=f"{len(scenes.labels)} independent scenes of the synthetic mine, seed {seed}, every "
        f"second one as a JPEG (trained on seed {options.seed})",
        threads=options.threads,
        progress=lambda done, total: progress.update(task, completed=done, total=total),
    )


def _report(
    console: Console, curve: Sequence[TrainingStep], confusion: np.ndarray, table: AccuracyTable
) -> None:
    learning = Table("step", "loss", "class", "cells", "accuracy", "rate", title="Learning curve")
    for point in curve[:: max(1, len(curve) // 20)]:
        learning.add_row(
            str(point.step),
            f"{point.loss:.3f}",
            f"{point.class_loss:.3f}",
            f"{point.cell_loss:.3f}",
            f"{point.accuracy:.1%}",
            f"{point.learning_rate:.5f}",
        )
    console.print(learning)
    counts = Table("truth", *CLASSES, "recognised", title=f"Answers for {table.data}")
    for name, row, recall in zip(CLASSES, confusion, recalls(confusion), strict=True):
        counts.add_row(name, *map(str, row), "" if recall is None else f"{recall:.1%}")
    console.print(counts)
    console.print(f"accuracy {accuracy(confusion):.1%}, in the forms of the network:")
    forms = Table("merge", "structure", "accuracy")
    for row in table.rows:
        if row.cut is None:
            forms.add_row(row.merge.value, row.head_structure.value, f"{row.value:.1%}")
    console.print(forms)
