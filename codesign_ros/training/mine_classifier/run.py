"""The training of the mine's classifier, from a seed to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.console import slim_table
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.evaluation.classification import confusion_matrix, recalls
from codesign_ros.mine.render import CLASSES
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.models.network import Network
from codesign_ros.training.classifier.run import ClassifyingRun
from codesign_ros.training.mine_classifier.trainer import MineConfig, MineTrainer
from codesign_ros.training.run import CALIBRATION_FRAMES
from codesign_ros.training.scenes import SceneOptions, SceneSet, train_and_val_scenes
from codesign_ros.training.tensors import classify
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

INPUT = InputSpec(HEIGHT, WIDTH, mean=(0.24, 0.24, 0.24), std=(0.12, 0.12, 0.12))


@dataclass(frozen=True, kw_only=True)
class MineClassifierOptions(SceneOptions):
    """Options of the training of the mine's classifier.

    Attributes:
        learning_rate: its peak.
    """

    what: ClassVar[str] = "the training of the mine's classifier"
    usual_epochs: ClassVar[float] = 3.0

    frames: int = 6000
    val_frames: int = 1500
    learning_rate: float = 3e-3

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        super().check()
        if self.init is not None:
            classes = Bundle.open(self.init).classes
            if classes != CLASSES:
                raise CodesignError(
                    f"--init {self.init} tells apart {', '.join(classes)}, not {', '.join(CLASSES)}"
                )


class MineClassifierRun(ClassifyingRun):
    """The training of the mine's classifier on rendered scenes."""

    architecture = "mine_repvgg"
    classes = CLASSES
    spec = INPUT
    panels: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "loss": {"all": "loss", "class": "class_loss", "cells": "cell_loss"},
        "accuracy": {"while training": "accuracy"},
    }
    options: MineClassifierOptions

    def __init__(
        self,
        out: Path,
        options: MineClassifierOptions,
        scenes: SceneSet,
        others: SceneSet,
        progress: Progress,
    ) -> None:
        super().__init__(out, options, progress)
        self._scenes = scenes
        self.args = {"classes": len(CLASSES)}
        self.val_images, self.val_labels = others.images, others.labels
        self.trained_on, self.measured_on = scenes.name, others.name

    def start_network(self) -> Network:
        """Make the network that training starts from."""
        if self.options.init is None:
            return super().start_network()
        return Bundle.open(self.options.init).network()

    def make_trainer(self, steps: int) -> MineTrainer:
        """Make what does the steps."""
        options = self.options
        config = MineConfig(steps, **options.config)
        return MineTrainer(self.start_network, self._scenes, config, options.torch_device)

    def judge(
        self, network: Network
    ) -> tuple[AccuracyTable, dict[str, Any], Sequence[RenderableType]]:
        """Measure the network in the forms that a plan can give it, and what it mixes up."""
        table, values, shown = super().judge(network)
        answers = classify(network, self.val_images)
        confusion = confusion_matrix(self.val_labels, answers, len(CLASSES))
        counts = slim_table(f"Answers for {self.measured_on}")
        for heading in ("truth", *CLASSES, "recognised"):
            counts.add_column(heading)
        for name, row, recall in zip(CLASSES, confusion, recalls(confusion), strict=True):
            counts.add_row(name, *map(str, row), "" if recall is None else f"{recall:.1%}")
        return table, {**values, "confusion": confusion.tolist()}, [*shown, counts]

    def calibration_frames(self) -> np.ndarray:
        """Return JPEGs among the scenes, the odd ones: with less noise they are smaller."""
        first = min(1, len(self._scenes.images) - 1)
        return np.array(self._scenes.images[first : CALIBRATION_FRAMES + 1 : 2])


@contextmanager
def open_mine_classifier_run(
    out: Path, options: MineClassifierOptions, progress: Progress
) -> Iterator[tuple[MineClassifierRun, int]]:
    """Render the scenes; see ``training.run.train``."""
    with train_and_val_scenes(options, progress) as (scenes, others):
        yield MineClassifierRun(out, options, scenes, others, progress), options.frames
