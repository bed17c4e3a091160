"""What the network says of each frame of a recording, to tell whether answers are right."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.types.plan import Plan

# Boxes from this score on are compared, and may differ by so much: near it they come and go.
_LEAST_SCORE, _DIFFERENCE = 0.5, 0.05


class RightAnswers:
    """The answers to the frames of a recording that is played in a loop.

    Args:
        source: the recording.
        bundle: the network's bundle.
        plan: the form in which the whole network runs.
        cache: where its engine is kept.
    """

    def __init__(self, source: str, bundle: Path, plan: Plan, cache: Path) -> None:
        os.environ["CODESIGN_CACHE_DIR"] = str(cache)
        evaluation = evaluate(
            open_source(source),
            Bundle.open(bundle),
            head_structure=plan.head_structure,
            merge=plan.merge,
            precision=plan.precision,
        )
        self._scores = [_scores(prediction.answer) for prediction in evaluation.predictions]
        self._first = 0

    def begin(self, first: int) -> None:
        """Note the number of the result that is of the recording's first frame."""
        self._first = first

    def wrong(self, results: Iterable[Result]) -> int:
        """Count the answers that are not those of their frame."""
        return sum(r.status is Status.OK and not self._is_right(r) for r in results)

    def _is_right(self, result: Result) -> bool:
        right = self._scores[(result.sequence - self._first) % len(self._scores)]
        return _are_alike(right, _scores(result)) and _are_alike(_scores(result), right)


def _scores(answer: Answer | Result) -> list[tuple[str, float]]:
    """Class and score of the boxes, best first."""
    return sorted(((box.label, box.score) for box in answer.detections), key=lambda b: -b[1])


def _are_alike(some: list[tuple[str, float]], others: list[tuple[str, float]]) -> bool:
    """Whether each box that counts has its like among the others."""
    left = list(others)
    for kind, score in some:
        if score < _LEAST_SCORE:
            break
        like = next((b for b in left if b[0] == kind and abs(b[1] - score) < _DIFFERENCE), None)
        if like is None:
            return False
        left.remove(like)
    return True
