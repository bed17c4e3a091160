"""What a detector is trained and measured on: scenes of the mine, or a labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np

from codesign_ros.data.labelled import open_train_and_val
from codesign_ros.training.detector.canvases import Labelled
from codesign_ros.training.scenes import SceneSet, render_scenes
from codesign_ros.types import Box

MINE = "mine"
MINE_BOXES = ("person", "helmet", "head")
"""Classes of the mine's boxes; ``head`` is a bare one."""

# Added to the training seed for the scenes that measure: no scene is in both.
_OTHER_SEED = 1_000_000


class MineScenes:
    """Rendered scenes as labelled pictures."""

    def __init__(self, scenes: SceneSet) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes.boxes)

    def image(self, index: int) -> np.ndarray:
        """Return a scene, uint8 (H, W, 3), RGB."""
        return np.array(self._scenes.images[index])

    def boxes(self, index: int) -> np.ndarray:
        """Return its boxes, float32 (n, 4)."""
        rows = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in self._scenes.boxes[index]]
        return np.array(rows, np.float32).reshape(-1, 4)

    def labels(self, index: int) -> np.ndarray:
        """Return their classes, int64 (n,)."""
        return np.array([MINE_BOXES.index(b.label) for b in self._scenes.boxes[index]], np.int64)


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


class DataOpener(AbstractContextManager["DataOpener"]):
    """Opens data, and removes what was rendered for it at the end."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="codesign_train_")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def mine(
        self,
        seed: int,
        frames: int,
        val_frames: int,
        processes: int,
        on_rendered: Callable[[int], None],
    ) -> TrainingData:
        """Render scenes of the mine: ``frames`` of ``seed``, and others to measure on.

        Raises:
            CodesignError: the disk has no room.
        """

        def rendered(name: str, scene_seed: int, count: int) -> tuple[MineScenes, str]:
            scenes = render_scenes(
                Path(self._folder.name) / name,
                scene_seed,
                count,
                processes=processes,
                on_rendered=on_rendered,
            )
            text = f"{count} independent scenes of the synthetic mine, seed {scene_seed}, every "
            return MineScenes(scenes), text + "second as a JPEG"

        train, train_name = rendered("train", seed, frames)
        val, val_name = rendered("val", seed + _OTHER_SEED, val_frames)
        return TrainingData(MINE_BOXES, train, val, train_name, val_name)

    def labelled(self, path: Path, classes: Sequence[str] | None) -> TrainingData:
        """Open a data set in VOC, COCO or YOLO layout.

        Raises:
            CodesignError: it cannot be read; the line says where.
        """
        train, val = open_train_and_val(path, classes)
        return TrainingData(
            train.classes,
            train,
            val,
            f"{len(train)} pictures of {train.name}",
            f"{len(val)} pictures of {val.name}",
            tuple(dict.fromkeys((*train.warnings, *val.warnings))),
        )
