"""How good answers of a network were, against what was truly in the frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from codesign_ros.evaluation.quality import Quality
from codesign_ros.runtime.answers import answer_of
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.types.boxes import GroundTruth


def accuracy_of(
    task: str,
    classes: Sequence[str],
    robots: Iterable[tuple[Mapping[int, GroundTruth], Sequence[Result]]],
) -> float | None:
    """mAP@0.5 of a detector, share of right answers of a classifier.

    Args:
        task: what the network does, one of ``bundle.description.TASKS``.
        classes: names of its classes.
        robots: for each robot what is truly in its frames, by their stamps [ns], and its results;
            those without an answer of the network, or without truth, do not count.

    Returns:
        0 to 1; None where nothing is known to compare with.
    """
    frames = tuple(
        (truths[result.stamp.stamp_ns], answer_of(result))
        for truths, results in robots
        for result in results
        if result.status is Status.OK and result.stamp.stamp_ns in truths
    )
    if not frames:
        return None
    quality = Quality(task, tuple(classes), frames)
    if task != "detection":
        return quality.accuracy
    return quality.detection.mean_map50 if quality.detection is not None else None
