"""How good a network's answers are, by its task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from codesign_ros.evaluation.average_precision import DetectionMetrics, measure
from codesign_ros.evaluation.classification import accuracy, class_indices, confusion_matrix
from codesign_ros.runtime.answers import Answer
from codesign_ros.types import GroundTruth


@dataclass(frozen=True)
class Quality:
    """Answers beside the truth.

    Attributes:
        task: what the network does, one of ``bundle.TASKS``.
        classes: names of its classes.
        frames: for each frame the truth, None where it is not known, and the answer, boxes of both
            in pixels of the frame.
    """

    task: str
    classes: tuple[str, ...]
    frames: tuple[tuple[GroundTruth | None, Answer], ...]

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
        known = [(truth.boxes, a.detections) for truth, a in self.frames if truth is not None]
        if self.task != "detection" or not any(boxes for boxes, _ in known):
            return None
        return measure([true for true, _ in known], [found for _, found in known], self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return what was measured: ``accuracy``, or ``map50`` and ``coco``; None if unknown."""
        if self.task == "classification":
            return {"accuracy": self.accuracy}
        if self.task == "detection":
            return self.detection.to_json() if self.detection else {"map50": None, "coco": None}
        return {}

    def counts(self) -> dict[str, int]:
        """How often each class was answered: frames of a classifier, boxes of a detector."""
        answers = [answer for _, answer in self.frames]
        labels = Counter(answer.label for answer in answers)
        labels.update(box.label for answer in answers for box in answer.detections)
        return {name: labels[name] for name in self.classes}
