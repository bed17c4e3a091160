"""What people see of a detector: right, missed, wrong and confused boxes from one score on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from codesign_ros.types.boxes import Box

OVERLAP = 0.5
"""Intersection over union from which a found box is a true one."""


class Matches(NamedTuple):
    """Which found boxes of a frame are which true ones, by their places in the two lists.

    Attributes:
        right: pairs of a true and a found box of one class.
        confused: pairs whose classes differ.
        missed: true boxes in no pair.
        wrong: found boxes in no pair.
    """

    right: tuple[tuple[int, int], ...]
    confused: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    wrong: tuple[int, ...]

    @property
    def mistakes(self) -> int:
        """How many boxes of either kind are not as they should be."""
        return len(self.confused) + len(self.missed) + len(self.wrong)


def match(truths: Sequence[Box], found: Sequence[Box]) -> Matches:
    """Pair the boxes of a frame.

    As COCO has it, each found box, the surest first, takes of the free true boxes of its class the
    one that it overlaps most, by ``OVERLAP`` at least. What is left of both is then paired likewise
    whatever the class.
    """
    overlap = overlaps(truths, found)
    same = np.array([[t.label == f.label for f in found] for t in truths], bool)
    free = np.ones(len(truths), bool)
    surest = sorted(range(len(found)), key=lambda place: -found[place].score)
    stages: list[list[tuple[int, int]]] = []
    for of_class in (True, False):
        pairs: list[tuple[int, int]] = []
        for place in surest if len(truths) else ():
            allowed = free & (same[:, place] == of_class) & (overlap[:, place] >= OVERLAP)
            if allowed.any():
                best = int(np.where(allowed, overlap[:, place], -1).argmax())
                free[best] = False
                pairs.append((best, place))
        paired = {place for _, place in pairs}
        surest = [place for place in surest if place not in paired]
        stages.append(pairs)
    missed = tuple(np.flatnonzero(free).tolist())
    return Matches(tuple(stages[0]), tuple(stages[1]), missed, tuple(sorted(surest)))


def overlaps(truths: Sequence[Box], found: Sequence[Box]) -> np.ndarray:
    """Intersection over union of each true with each found box, (true, found)."""
    a, b = (
        np.array([(x.x_min, x.y_min, x.x_max, x.y_max) for x in boxes], float).reshape(-1, 4)
        for boxes in (truths, found)
    )
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, np.finfo(float).tiny)


def shown(boxes: Sequence[Box], threshold: float) -> tuple[Box, ...]:
    """Boxes that are shown to people: of this score at least."""
    return tuple(box for box in boxes if box.score >= threshold)


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """How a detector does at one score.

    Attributes:
        threshold: boxes of this score and above count.
        classes: names of the classes.
        confusion: (classes + 1, classes + 1) counts, row = true class, column = found class; the
            last row holds what was found and is nothing, the last column what was missed.
    """

    threshold: float
    classes: tuple[str, ...]
    confusion: np.ndarray

    @classmethod
    def of_frames(
        cls,
        truths: Sequence[Sequence[Box]],
        found: Sequence[Sequence[Box]],
        classes: Sequence[str],
        threshold: float,
    ) -> OperatingPoint:
        """Count over frames; boxes are of ``classes`` alone.

        Args:
            truths: for each frame the boxes that are there.
            found: for each frame the boxes that were found, of any score.
            classes: names of the classes.
            threshold: as the attribute.
        """
        place = {name: k for k, name in enumerate(classes)}
        nothing = len(classes)
        confusion = np.zeros((nothing + 1, nothing + 1), np.int64)
        for true, all_found in zip(truths, found, strict=True):
            seen = shown(all_found, threshold)
            matches = match(true, seen)
            for i, j in (*matches.right, *matches.confused):
                confusion[place[true[i].label], place[seen[j].label]] += 1
            for i in matches.missed:
                confusion[place[true[i].label], nothing] += 1
            for j in matches.wrong:
                confusion[nothing, place[seen[j].label]] += 1
        return cls(threshold, tuple(classes), confusion)

    def true(self, name: str) -> int:
        """How many objects of a class there are."""
        return int(self.confusion[self.classes.index(name)].sum())

    def found(self, name: str) -> int:
        """How many boxes of a class are shown."""
        return int(self.confusion[:, self.classes.index(name)].sum())

    def right(self, name: str) -> int:
        """How many of them are right."""
        place = self.classes.index(name)
        return int(self.confusion[place, place])

    def recall(self, name: str) -> float | None:
        """Share of a class's objects that are found, 0 to 1; None where there is none."""
        true = self.true(name)
        return self.right(name) / true if true else None

    def precision(self, name: str) -> float | None:
        """Share of a class's boxes that are right, 0 to 1; None where none is shown."""
        found = self.found(name)
        return self.right(name) / found if found else None

    def to_json(self) -> dict[str, Any]:
        """Return the values as a JSON object."""
        return {
            "score": self.threshold,
            "overlap": OVERLAP,
            "classes": {
                name: {
                    "true": self.true(name),
                    "found": self.found(name),
                    "right": self.right(name),
                    "recall": self.recall(name),
                    "precision": self.precision(name),
                }
                for name in self.classes
            },
            "confusion": self.confusion.tolist(),
        }
