"""Boxes on pictures as any labelled data set gives them: checked, mended with a note, or refused.

The readers (``voc``, ``yolo_labels``, ``coco``) know files; what a good label is stands here once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codesign_ros.data.image_files import IMAGE_SUFFIXES, DataSetError, ImageFile
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import listed

SCORED = "labels have a score, as a detector's answers have and truth has not; it was left out"
"""What to note of a label with a score: it counts as truth, which it may not be."""

# Coordinates that are this far out are so by the rounding of floats [px].
_ROUNDING_PX = 1e-3


@dataclass(frozen=True)
class LabelledImage(ImageFile):
    """A picture in a file and the objects that are in it.

    Attributes:
        boxes: In pixels of the picture as ``load`` returns it; inside it, none empty.
    """

    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class DetectionSet:
    """Labelled pictures for detection.

    Attributes:
        name: What the set is called: its path, and its split if one was chosen.
        classes: Names of the classes; ``labels`` are indices into them.
        images: The pictures and their boxes.
        warnings: What was mended or left out while the set was read, a line each.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        """Decode a picture: uint8 (H, W, 3) RGB; see ``LabelledImage.load``."""
        return self.images[index].load()

    def boxes(self, index: int) -> np.ndarray:
        """Boxes of a picture: float32 (n, 4), x_min, y_min, x_max, y_max [px]."""
        rows = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in self.images[index].boxes]
        return np.array(rows, np.float32).reshape(-1, 4)

    def labels(self, index: int) -> np.ndarray:
        """Classes of a picture's boxes: int64 (n,), in the order of ``boxes``."""
        indices = [self.classes.index(box.label) for box in self.images[index].boxes]
        return np.array(indices, np.int64)


class Label(NamedTuple):
    """A box as a label file states it; ``where`` names the file and the place in it."""

    where: str
    name: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float


class Collector:
    """Gathers the pictures of one set.

    Args:
        name: What the set is called.
        classes: All classes that a label may have.
        warnings: Lines that the reader has to say already.

    Raises:
        DataSetError: There is no class, or a name stands twice.
    """

    def __init__(self, name: str, classes: Sequence[str], warnings: Iterable[str] = ()) -> None:
        if not classes:
            raise DataSetError(f"data set {name} has no classes")
        twice = next((c for i, c in enumerate(classes) if c in classes[:i]), None)
        if twice is not None:
            raise DataSetError(f"data set {name} has class '{twice}' twice")
        self._name = name
        self._classes = tuple(classes)
        self._known = frozenset(classes)
        self._images: dict[Path, LabelledImage] = {}
        self._warnings = list(warnings)
        self._counts: dict[str, tuple[int, str]] = {}
        self._overhang_px = 0.0

    def note(self, what: str, where: str) -> None:
        """Count something to warn of; ``what`` reads on after a number, as in "3 boxes ..."."""
        count, first = self._counts.get(what, (0, where))
        self._counts[what] = (count + 1, first)

    def add(self, image: ImageFile, labels: Iterable[Label]) -> None:
        """Add a picture with its labels.

        A box that runs over the edge is clipped; the same box of the same class counts once; one
        without an area is left out. All are noted.

        Raises:
            DataSetError: A label has an unknown class, impossible coordinates, or lies outside the
                picture; or the picture is in the set already.
        """
        if image.path in self._images:
            raise DataSetError(f"data set {self._name} has image {image.path} twice")
        boxes: dict[Box, None] = {}
        for label in labels:
            box = self._checked(label, image)
            if box is None:
                self.note("boxes have no width or no height and were left out", label.where)
                continue
            if box in boxes:
                self.note("boxes stand twice in their image; one of each is kept", label.where)
            boxes[box] = None
        self._images[image.path] = LabelledImage(
            image.path, image.height, image.width, image.orientation, tuple(boxes)
        )

    def _checked(self, label: Label, image: ImageFile) -> Box | None:
        where, name, *corners = label
        if name not in self._known:
            raise DataSetError(
                f"{where}: class '{name}' is not among the classes {listed(self._classes)}"
            )
        if not all(map(math.isfinite, corners)):
            raise DataSetError(f"{where}: a coordinate of '{name}' is not a finite number")
        x_min, y_min, x_max, y_max = corners
        said = f"box of '{name}', x {x_min:g} to {x_max:g}, y {y_min:g} to {y_max:g},"
        if x_max < x_min or y_max < y_min:
            raise DataSetError(f"{where}: {said} has its minimum above its maximum")
        if x_max == x_min or y_max == y_min:
            return None
        width, height = image.width, image.height
        left, right = max(x_min, 0.0), min(x_max, float(width))
        top, bottom = max(y_min, 0.0), min(y_max, float(height))
        if left >= right or top >= bottom:
            raise DataSetError(
                f"{where}: {said} lies outside its image, {image.path.name} of {width}x{height}"
            )
        overhang_px = max(left - x_min, x_max - right, top - y_min, y_max - bottom)
        if overhang_px > _ROUNDING_PX:
            self._overhang_px = max(self._overhang_px, overhang_px)
            self.note("boxes run over the edge of their image and were clipped", where)
        return Box(name, left, top, right, bottom)

    def finish(self) -> DetectionSet:
        """Return the set.

        Raises:
            DataSetError: It has no picture, or no label in any picture.
        """
        if not self._images:
            raise DataSetError(f"data set {self._name} has no images ({', '.join(IMAGE_SUFFIXES)})")
        counted = [
            f"{self._name}: {count} {what} (first: {first})"
            for what, (count, first) in self._counts.items()
        ]
        if not any(image.boxes for image in self._images.values()):
            raise DataSetError(
                f"data set {self._name} has {len(self._images)} images and not one label; "
                f"{counted[0] if counted else 'are the label files where its layout has them?'}"
            )
        if self._overhang_px:
            counted.append(f"{self._name}: the furthest was {self._overhang_px:.1f} px over")
        images = tuple(self._images.values())
        return DetectionSet(self._name, self._classes, images, (*self._warnings, *counted))


def whole_number(text: str) -> int | None:
    """Return a whole number of 0 or more, as ``7`` or as floats write it (``7.0``); else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if 0 <= value < 2**53 and value.is_integer() else None


def is_marked(value: object) -> bool:
    """Whether a mark on a label, such as ``difficult``, is set: not by 0, 0.0, false or nothing."""
    text = str(value).strip().lower()
    return text not in ("", "none", "null", "false", "no") and whole_number(text) != 0
