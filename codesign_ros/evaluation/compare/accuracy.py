"""How right a policy's answers are, and how right what it has to show in time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.evaluation.average_precision import jackknifed_map50
from codesign_ros.evaluation.compare.outcome import Outcome
from codesign_ros.evaluation.judges import GROUPS
from codesign_ros.evaluation.quality import Quality
from codesign_ros.runtime.messages import Answer
from codesign_ros.types.boxes import GroundTruth


@dataclass(frozen=True)
class Accuracy:
    """Holds answers against the truth.

    Attributes:
        task: what the network does.
        classes: those that count.
        truths: of the frames, in order; None = not known.
    """

    task: str
    classes: tuple[str, ...]
    truths: tuple[GroundTruth | None, ...]

    def of(self, outcome: Outcome) -> float | None:
        """Of the frames that were answered and have truth: mAP@0.5, or share of right answers."""
        return self._over(sorted(outcome.answers), outcome.answers)

    def in_time(self, outcome: Outcome, deadline_s: float) -> float | None:
        """The same over all frames: one that is late or lost counts as without an answer."""
        known = [number for number, truth in enumerate(self.truths) if truth is not None]
        kept = np.flatnonzero(outcome.responses_s() <= deadline_s).tolist()
        if self.task == "classification":
            answered = [number for number in kept if self.truths[number] is not None]
            right = self._right(outcome, answered).sum()
            return float(right) / len(known) if known else None
        answers = {number: outcome.answers[number] for number in kept}
        return self._over(known, answers)

    def _over(self, numbers: Sequence[int], answers: Mapping[int, Answer]) -> float | None:
        pairs = tuple((self.truths[n], answers.get(n, Answer())) for n in numbers)
        quality = Quality(self.task, self.classes, pairs)
        if self.task == "classification":
            return quality.accuracy if any(truth for truth, _ in pairs) else None
        return quality.detection.mean_map50 if quality.detection is not None else None

    def below(self, outcome: Outcome, best: Outcome) -> tuple[float, float]:
        """By how much an outcome is below the best, and the standard error of that.

        On the frames that both answered: a mean of paired differences, or the delete-a-group
        jackknife of ``BoxJudge.difference_error``.
        """
        both = [
            number
            for number in sorted(outcome.answers.keys() & best.answers.keys())
            if self.truths[number] is not None
        ]
        if not both or outcome is best:
            return 0.0, 0.0
        if self.task == "classification":
            right, other = (self._right(each, both) for each in (outcome, best))
            difference = other - right
            return float(difference.mean()), float(difference.std() / math.sqrt(len(both)))
        truths = [truth.boxes for number in both if (truth := self.truths[number]) is not None]
        groups = min(GROUPS, len(both))
        if groups < 2:
            return 0.0, math.inf
        found, other = (
            np.array(
                jackknifed_map50(
                    truths,
                    [each.answers[number].detections for number in both],
                    self.classes,
                    groups,
                )
            )
            for each in (outcome, best)
        )
        error = float(math.sqrt(groups - 1) * np.std(other - found))
        return float(np.mean(other - found)), error

    def _right(self, outcome: Outcome, numbers: Sequence[int]) -> np.ndarray:
        answers: list[Answer] = [outcome.answers[number] for number in numbers]
        labels = [truth.label for number in numbers if (truth := self.truths[number]) is not None]
        return np.array([float(a.label == label) for a, label in zip(answers, labels, strict=True)])
