"""What an answer of a network is and how good some of them are, for each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple, Protocol

import numpy as np

from codesign_ros.evaluation.average_precision import DetectionMetrics, jackknifed_map50, measure
from codesign_ros.pixels.boxes import decode_detections, to_frame
from codesign_ros.types.boxes import CORNERS, Box
from codesign_ros.types.errors import CodesignError, listed
from codesign_ros.types.tensors import InputSpec

GROUPS = 20
"""Groups of frames that a jackknife leaves out in turn."""


class Score(NamedTuple):
    """A metric's value, 0 to 1, and further values of the same measurement, see ``AccuracyRow``."""

    value: float
    details: Mapping[str, float] = {}


class Judge(Protocol):
    """Knows the truth of some frames."""

    metric: str

    @property
    def truth(self) -> object:
        """What is true; its text says so in full."""

    def answer(self, output: np.ndarray) -> Any:
        """Turn the network's output for a frame into what is compared with the truth."""

    def to_json(self, answer: Any) -> Any:
        """Write an answer as what JSON can hold; not None."""

    def from_json(self, content: Any) -> Any:
        """Return the answer of which this was made, equal to the last digit."""

    def score(self, answers: Sequence[Any]) -> Score:
        """Say how good the answers for all frames, in their order, are."""

    def difference_error(self, answers: Sequence[Any], others: Sequence[Any]) -> float:
        """Standard error of the difference between the values of two rows of answers.

        Both are for the same frames, whose difficulty they share: what counts is on how many frames
        they come off otherwise, and not how many frames are hard.
        """


class ClassJudge:
    """Share of the frames whose class is recognised.

    Args:
        labels: index of each frame's true class.
    """

    metric = "accuracy"

    def __init__(self, labels: Sequence[int] | np.ndarray) -> None:
        self._labels = np.asarray(labels)

    @property
    def truth(self) -> list[int]:
        """The classes."""
        return [int(label) for label in self._labels]

    def answer(self, output: np.ndarray) -> int:
        """Return the class with the highest logit."""
        return int(np.argmax(output))

    def to_json(self, answer: int) -> int:
        """Return it as it is."""
        return answer

    def from_json(self, content: int) -> int:
        """Return it as it is."""
        return content

    def score(self, answers: Sequence[int]) -> Score:
        """Return the accuracy."""
        return Score(float(np.mean(np.asarray(answers) == self._labels)))

    def difference_error(self, answers: Sequence[int], others: Sequence[int]) -> float:
        """Return that of a mean of paired differences."""
        right, other = (np.asarray(each) == self._labels for each in (answers, others))
        return float(np.std(right.astype(float) - other) / math.sqrt(len(right)))


class BoxJudge:
    """Mean over the classes of the average precision at an overlap of 0.5, in frames' pixels.

    Args:
        truths: true boxes of each frame, in pixels of the frame.
        sizes: height and width of each frame, before it was letterboxed [px].
        input: the network's input.
        classes: names of the classes that count.
        known: names of all classes of the network; None = the same.
        form: what the numbers of its boxes are, as the bundle says.

    Raises:
        CodesignError: no box at all, or boxes of a class that the network does not know.
    """

    metric = "map50"

    def __init__(
        self,
        truths: Sequence[Sequence[Box]],
        sizes: Sequence[tuple[int, int]],
        input: InputSpec,
        classes: Sequence[str],
        known: Sequence[str] | None = None,
        form: str = CORNERS,
    ) -> None:
        self._truths = truths
        self._sizes = sizes
        self._input = input
        self._form = form
        self._classes = tuple(classes)
        self._known = self._classes if known is None else tuple(known)
        if self._measured([[] for _ in truths]).mean_map50 is None:
            raise CodesignError(
                f"the {len(truths)} frames hold no object of {listed(self._classes)}: "
                "a detector's accuracy cannot be measured on them"
            )

    @property
    def truth(self) -> object:
        """The true boxes, and what else the measure depends on."""
        return self._truths, self._sizes, self._classes

    def answer(self, output: np.ndarray) -> list[Box]:
        """Return the boxes, in pixels of the input."""
        found = decode_detections(output, self._known, form=self._form)
        return [box for box in found if box.label in self._classes]

    def to_json(self, answer: Sequence[Box]) -> list[list[str | float]]:
        """Return the fields of each box."""
        return [list(astuple(box)) for box in answer]

    def from_json(self, content: Any) -> list[Box]:
        """Return the boxes."""
        return [Box(*fields) for fields in content]

    def score(self, answers: Sequence[Sequence[Box]]) -> Score:
        """Return mAP@0.5, with that of each class and COCO's averages as details."""
        metrics = self._measured(answers)
        value = metrics.mean_map50
        assert value is not None  # there are objects
        return Score(value, _details(metrics))

    def difference_error(self, answers: Sequence[Any], others: Sequence[Any]) -> float:
        """Return it by the delete-a-group jackknife, since an average precision is no mean.

        Every ``GROUPS``-th frame makes a group; from how the difference varies as each group in
        turn is left out follows how it would vary over other frames (Efron and Tibshirani, "An
        Introduction to the Bootstrap", 1993).
        """
        groups = min(GROUPS, len(answers))
        if groups < 2 or all(a == b for a, b in zip(answers, others, strict=True)):
            return 0.0
        found, other = (
            jackknifed_map50(self._truths, self._in_frames(each), self._classes, groups)
            for each in (answers, others)
        )
        return float(math.sqrt(groups - 1) * np.std(np.subtract(found, other)))

    def _in_frames(self, answers: Sequence[Sequence[Box]]) -> list[list[Box]]:
        """Boxes in pixels of the frames."""
        return [
            to_frame(boxes, *size, self._input)
            for boxes, size in zip(answers, self._sizes, strict=True)
        ]

    def _measured(self, answers: Sequence[Sequence[Box]]) -> DetectionMetrics:
        return measure(self._truths, self._in_frames(answers), self._classes)


def _details(metrics: DetectionMetrics) -> dict[str, float]:
    """Return what is known: ``map50.CLASS`` and ``coco.KEY``."""
    named = {f"map50.{name}": value for name, value in metrics.map50.items()}
    named |= {f"coco.{key}": value for key, value in metrics.coco.items()}
    return {name: value for name, value in named.items() if value is not None}
