"""One training of a classifier on labelled pictures, from the pictures to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.data.classes import FoundClasses
from codesign_ros.evaluation.accuracy_table import measure_accuracy
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.classifier.options import ClassifierOptions
from codesign_ros.training.classifier.sets import (
    TRAIN,
    VAL,
    ClassificationSet,
    open_classification_set,
    renamed_set,
)
from codesign_ros.training.classifier.trainer import ClassifierConfig, ClassifierTrainer
from codesign_ros.training.run import CALIBRATION_FRAMES, TrainingRun
from codesign_ros.training.tensors import classify
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

# Input of networks for pictures of many sizes, as the published classifiers take them [px].
_INPUT_PX = 224
_STATISTICS_FRAMES = 256


class ClassifyingRun(TrainingRun):
    """The training of a classifier: how it is measured.

    Attributes:
        val_images: letterboxed pictures to measure on, uint8 (n, H, W, 3).
        val_labels: (n,) index of each one's class.
    """

    task = "classification"
    judge_passes = 14.0  # its forms and codecs
    panels: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "loss": {"loss": "loss"},
        "accuracy": {"while training": "accuracy"},
    }
    val_images: np.ndarray
    val_labels: np.ndarray

    def measure(self) -> dict[str, Any]:
        """Measure the share of pictures that are recognised."""
        answers = classify(self.trained(), self.val_images)
        return {"accuracy": float((answers == self.val_labels).mean())}

    def score(self, values: Mapping[str, Any]) -> float:
        """Return the share of pictures that are recognised."""
        return float(values["accuracy"])

    def judge(
        self, network: Network
    ) -> tuple[AccuracyTable, dict[str, Any], Sequence[RenderableType]]:
        """Measure the network in the forms that a plan can give it."""
        task = self.progress.add_task("measuring accuracy", total=None)
        table = measure_accuracy(
            network,
            self.val_images,
            self.val_labels,
            data=f"{self.measured_on} (trained on {self.trained_on})",
            threads=self.options.threads or 1,
            progress=lambda done, total: self.progress.update(task, completed=done, total=total),
        )
        words = f"accuracy {table.reference:.1%} on {table.data}"
        return table, {"accuracy": table.reference}, [words]

    def measured_curves(self, measured: Sequence[Mapping[str, Any]]) -> tuple[str, dict]:
        """Return the share of pictures that were recognised."""
        return "accuracy", {"measured": [(m["step"], m["accuracy"]) for m in measured]}


class ClassifierRun(ClassifyingRun):
    """The training of a classifier on a set of labelled pictures."""

    options: ClassifierOptions

    def __init__(
        self,
        out: Path,
        options: ClassifierOptions,
        train: ClassificationSet,
        val: ClassificationSet,
        progress: Progress,
    ) -> None:
        super().__init__(out, options, progress)
        self._train = train
        self._init = None if options.init is None else Bundle.open(options.init)
        self.classes = train.classes
        self.architecture, self.args, self.spec = self._shape()
        self.val_images, self.val_labels = self._frames(val, options.val_frames)
        self.trained_on = train.name
        self.measured_on = f"{len(self.val_labels)} images of {val.name}"

    def make_trainer(self, steps: int) -> ClassifierTrainer:
        """Make what does the steps."""
        options = self.options
        config = ClassifierConfig(steps, **options.config)
        return ClassifierTrainer(self.start_network, self._train, config, options.torch_device)

    def calibration_frames(self) -> np.ndarray:
        """Return some training pictures."""
        return self._frames(self._train, CALIBRATION_FRAMES)[0]

    def _frames(self, data: ClassificationSet, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some letterboxed pictures, uint8 (n, H, W, 3), and their labels (n,)."""
        chosen = np.random.default_rng(self.options.seed).permutation(len(data))[:most]
        return np.stack([letterbox(data.image(i), self.spec) for i in chosen]), data.labels[chosen]

    def _shape(self) -> tuple[str, dict[str, Any], InputSpec]:
        """Return architecture, arguments and input of the network."""
        if self._init is not None:
            args = dict(self._init.architecture_args)
            if "classes" in args:
                args["classes"] = len(self.classes)
            return self._init.architecture, args, self._init.input
        args = {**self.options.architecture_args, "classes": len(self.classes)}
        height, width = self.options.input or self._train.size or (_INPUT_PX, _INPUT_PX)
        self.spec = InputSpec(height, width)
        pixels = self._frames(self._train, _STATISTICS_FRAMES)[0].reshape(-1, 3) / 255
        mean, std = (
            tuple(round(float(v), 4) for v in values)
            for values in (pixels.mean(0), pixels.std(0).clip(1 / 255))
        )
        spec = InputSpec(height, width, mean, std)  # type: ignore[arg-type]
        return self.options.architecture, args, spec


@contextmanager
def open_classifier_run(
    out: Path, options: ClassifierOptions, progress: Progress
) -> Iterator[tuple[ClassifierRun, int]]:
    """Open the data; see ``training.run.train``."""
    choice = options.class_choice
    train, val = (open_classification_set(options.data, split) for split in (TRAIN, VAL))
    if train.classes != val.classes:
        raise CodesignError(f"{train.name} and {val.name} have different classes")
    found = FoundClasses(train.classes, frozenset(train.classes))
    names = choice.resolve(found, None, options.data)
    for line in names.warnings:
        progress.console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    train, val = (renamed_set(each, names) for each in (train, val))
    yield ClassifierRun(out, options, train, val, progress), len(train)
