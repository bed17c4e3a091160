"""What a detector is trained and measured on: scenes of the mine, or a labelled data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign_ros.data.classes import ClassChoice, ClassNames, FoundClasses
from codesign_ros.data.labelled import names_for, open_train_and_val
from codesign_ros.training.detector.canvases import Labelled
from codesign_ros.training.scenes import SceneSet
from codesign_ros.types.boxes import Box

MINE_BOXES = ("person", "helmet", "head")
"""Classes of the mine's boxes; ``head`` is a bare one."""


class MineScenes:
    """Rendered scenes as labelled pictures, their classes called as ``names`` says."""

    def __init__(self, scenes: SceneSet, names: ClassNames) -> None:
        self._scenes = scenes
        self._classes = names.classes
        self._boxes = [names.boxes(boxes) for boxes in scenes.boxes]

    def __len__(self) -> int:
        return len(self._scenes.boxes)

    def image(self, index: int) -> np.ndarray:
        """Return a scene, uint8 (H, W, 3), RGB."""
        return np.array(self._scenes.images[index])

    def boxes(self, index: int) -> np.ndarray:
        """Return its boxes, float32 (n, 4)."""
        rows = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in self._boxes[index]]
        return np.array(rows, np.float32).reshape(-1, 4)

    def labels(self, index: int) -> np.ndarray:
        """Return their classes, int64 (n,)."""
        return np.array([self._classes.index(b.label) for b in self._boxes[index]], np.int64)


def truths_of(data: Labelled, classes: Sequence[str], count: int) -> list[tuple[Box, ...]]:
    """Return the true boxes of the first pictures."""
    return [
        tuple(
            Box(classes[label], *map(float, box))
            for box, label in zip(data.boxes(i), data.labels(i), strict=True)
        )
        for i in range(count)
    ]


@dataclass(frozen=True)
class TrainingData:
    """Two sets of pictures that have none in common.

    Attributes:
        classes: names of the classes.
        train: what is learnt from.
        val: what is measured on.
        train_name: what the first is, in a few words.
        val_name: what the second is.
        warnings: what was mended in them, a line each.
    """

    classes: tuple[str, ...]
    train: Labelled
    val: Labelled
    train_name: str
    val_name: str
    warnings: tuple[str, ...] = ()


def mine_classes(choice: ClassChoice) -> ClassNames:
    """Say which of the mine's classes are learnt, before scenes are drawn.

    Raises:
        CodesignError: the choice does not fit the mine's classes.
    """
    return choice.resolve(FoundClasses(MINE_BOXES, frozenset(MINE_BOXES)), None, "the mine")


def mine_data(train: SceneSet, val: SceneSet, names: ClassNames) -> TrainingData:
    """Take scenes of the mine to learn from and to measure on."""
    return TrainingData(
        names.classes, MineScenes(train, names), MineScenes(val, names), train.name, val.name
    )


def labelled_data(path: Path, choice: ClassChoice) -> TrainingData:
    """Open a data set in VOC, COCO or YOLO layout.

    Raises:
        CodesignError: it cannot be read, or the choice does not fit its classes; the line says
            where.
    """
    parts = open_train_and_val(path, names_for(path, choice.kept or ()))
    names = choice.resolve(FoundClasses.of_sets(*parts), None, str(path))
    train, val = map(names.set, parts)
    return TrainingData(
        train.classes,
        train,
        val,
        f"{len(train)} pictures of {train.name}",
        f"{len(val)} pictures of {val.name}",
        tuple(dict.fromkeys((*train.warnings, *val.warnings, *names.warnings))),
    )
