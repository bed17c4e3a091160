"""How good a classifier is: accuracy and confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codesign_ros.types.errors import CodesignError, listed


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return the index of each frame's true class.

    Raises:
        CodesignError: the frames have no class, or one that the network does not know.
    """
    index = {name: i for i, name in enumerate(classes)}
    for label in labels:
        if not label:
            raise CodesignError(
                "the ground truth has boxes and no class for a whole frame, which a classifier "
                "needs; measure a detector on it"
            )
        if label not in index:
            raise CodesignError(
                f"the ground truth has class '{label}', the bundle knows {listed(classes)}: they "
                "do not belong together"
            )
    return [index[label] for label in labels]


def confusion_matrix(
    truth: Sequence[int] | np.ndarray, predicted: Sequence[int] | np.ndarray, classes: int
) -> np.ndarray:
    """Count the frames by true and predicted class.

    Args:
        truth: index of the true class of each frame, 0 to ``classes`` - 1.
        predicted: index of the predicted class of each frame.
        classes: number of classes.

    Returns:
        (classes, classes) int64; row = true class, column = predicted class.

    Raises:
        ValueError: the two have not the same length, or an index is out of range.
    """
    truth = np.asarray(truth, np.int64)
    predicted = np.asarray(predicted, np.int64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"{truth.shape} true classes, {predicted.shape} predicted ones")
    both = np.concatenate((truth, predicted))
    if both.size and (both.min() < 0 or both.max() >= classes):
        raise ValueError(f"a class index is not in 0..{classes - 1}")
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float | None:
    """Return the share of frames on the diagonal, 0 to 1; None where no frame was counted."""
    total = int(confusion.sum())
    return int(np.trace(confusion)) / total if total else None


def recalls(confusion: np.ndarray) -> list[float | None]:
    """For each true class the share that was recognised; None where it did not occur."""
    totals = confusion.sum(axis=1)
    return [
        int(hits) / int(total) if total else None
        for hits, total in zip(np.diag(confusion), totals, strict=True)
    ]
