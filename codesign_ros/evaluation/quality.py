"""How good a network's answers are, by its task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from codesign_ros.evaluation.average_precision import DetectionMetrics, measure
from codesign_ros.evaluation.classification import accuracy, class_indices, confusion_matrix
from codesign_ros.evaluation.operating_point import OperatingPoint
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.runtime.answers import Answer
from codesign_ros.types.boxes import Box, GroundTruth


@dataclass(frozen=True)
class Quality:
    """Answers beside the truth.

    Attributes:
        task: what the network does, one of ``bundle.description.TASKS``.
        classes: names of its classes.
        frames: for each frame the truth, None where it is not known, and the answer, boxes of both
            in pixels of the frame.
        display_threshold: score from which boxes are shown to people.
    """

    task: str
    classes: tuple[str, ...]
    frames: tuple[tuple[GroundTruth | None, Answer], ...]
    display_threshold: float = DISPLAY_THRESHOLD

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts, row = truth, column = answer, of frames whose truth is known.

        Raises:
            CodesignError: the truth names a class that the network does not know.
        """
        known = [(truth.label, answer.label) for truth, answer in self.frames if truth is not None]
        truths, labels = (class_indices([pair[i] for pair in known], self.classes) for i in (0, 1))
        return confusion_matrix(truths, labels, len(self.classes))

    @property
    def accuracy(self) -> float | None:
        """Share of right answers of a classifier, 0 to 1; None without ground truth.

        Raises:
            CodesignError: the truth names a class that the network does not know.
        """
        return accuracy(self.confusion) if self.task == "classification" else None

    @cached_property
    def detection(self) -> DetectionMetrics | None:
        """Average precision of a detector; None where no frame has a true box.

        Raises:
            CodesignError: there are true boxes of a class that the network does not know.
        """
        truths, found = self._boxes
        return measure(truths, found, self.classes) if any(truths) else None

    @cached_property
    def shown(self) -> OperatingPoint | None:
        """What people see of a detector; None where no frame has a true box.

        Raises:
            CodesignError: there are true boxes of a class that the network does not know.
        """
        if self.detection is None:
            return None
        return OperatingPoint.of_frames(*self._boxes, self.classes, self.display_threshold)

    @property
    def _boxes(self) -> tuple[list[tuple[Box, ...]], list[tuple[Box, ...]]]:
        """A detector's frames of known truth: the boxes that are there, and those found."""
        known = [pair for pair in self.frames if pair[0] is not None and self.task == "detection"]
        return (
            [truth.boxes for truth, _ in known if truth is not None],
            [answer.detections for _, answer in known],
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was measured, None if unknown.

        That is ``accuracy``; or ``map30``, ``map50``, ``coco`` and ``shown``, which has recall,
        precision and counts of true objects by class at the score that people see.
        """
        if self.task == "classification":
            return {"accuracy": self.accuracy}
        if self.task == "detection":
            averages = self.detection.to_json() if self.detection else {}
            return {
                **{name: averages.get(name) for name in ("map30", "map50", "coco")},
                "shown": self.shown.to_json() if self.shown else None,
            }
        return {}

    def counts(self) -> dict[str, int]:
        """How often each class was answered: frames of a classifier, boxes of a detector."""
        answers = [answer for _, answer in self.frames]
        labels = Counter(answer.label for answer in answers)
        labels.update(box.label for answer in answers for box in answer.detections)
        return {name: labels[name] for name in self.classes}
