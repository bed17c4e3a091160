"""COCO's average precision of many ways on the same frames, and of frames drawn again from them.

Found boxes are compared with the true ones frame by frame; what is kept of a box is its score and
at which overlaps it is right. Drawing frames again (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993) is then to weight them. As one drawing weights all ways alike, a frame's
difficulty drops out of the difference between two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.evaluation.operating_point import overlaps
from codesign_ros.types.boxes import Box

OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
"""Intersections over union over which COCO averages, the first of them that of mAP@0.5."""

MATCHED = np.dtype([("score", "<f4"), ("label", "u1"), ("right", "<u2")])
"""A found box: the place of its class, and a bit for each of ``OVERLAPS`` at which it is right."""

_RECALLS = np.linspace(0, 1, 101)
# As COCO has it, an overlap that is the threshold but for rounding is enough.
_LEAST = np.minimum(OVERLAPS, 1 - 1e-10)
_BITS = 1 << np.arange(len(OVERLAPS))


def matched(truths: Sequence[Box], found: Sequence[Box], classes: Sequence[str]) -> np.ndarray:
    """Compare what was found in a frame with what is there, by COCO's rules.

    Each found box, the surest first, takes the free true box of its class that it overlaps most.

    Args:
        truths: true boxes, in pixels of the frame.
        found: at most 100 boxes, likewise; those of other classes do not count.
        classes: names of the classes that count.

    Returns:
        (n,) of ``MATCHED``, the surest first.
    """
    places = {name: place for place, name in enumerate(classes)}
    counted = sorted((box for box in found if box.label in places), key=lambda box: -box.score)
    result = np.zeros(len(counted), MATCHED)
    result["score"] = [box.score for box in counted]
    result["label"] = [places[box.label] for box in counted]
    for name, place in places.items():
        true = [box for box in truths if box.label == name]
        rows = np.flatnonzero(result["label"] == place)
        if not true or not len(rows):
            continue
        overlap = overlaps(true, [counted[row] for row in rows])
        free = np.ones((len(OVERLAPS), len(true)), bool)
        for row, of_box in zip(rows, overlap.T, strict=True):
            if of_box.max() < _LEAST[0]:
                continue
            allowed = free & (of_box >= _LEAST[:, np.newaxis])
            taken = np.where(allowed, of_box, -1.0)[:, ::-1].argmax(1)
            right = np.flatnonzero(allowed.any(1))
            free[right, len(true) - 1 - taken[right]] = False
            result["right"][row] = _BITS[right].sum()
    return result


def counts(truths: Sequence[Box], classes: Sequence[str]) -> list[int]:
    """How many true boxes of each class there are in a frame."""
    return [sum(box.label == name for box in truths) for name in classes]


@dataclass(frozen=True, eq=False)
class Precisions:
    """Average precisions of one way in each drawing of frames, 0 to 1; NaN where no such object is.

    Attributes:
        coco: COCO's AP by class, (drawings, classes).
        map50: AP at an overlap of 0.5, likewise.
    """

    coco: np.ndarray
    map50: np.ndarray

    @property
    def ap(self) -> np.ndarray:
        """COCO's AP, (drawings,)."""
        return _over_classes(self.coco)

    @property
    def mean_map50(self) -> np.ndarray:
        """mAP@0.5, (drawings,)."""
        return _over_classes(self.map50)


def drawings(frames: int, count: int, block: int, seed: int = 0) -> np.ndarray:
    """Draw frames again and again, as many as there are.

    Args:
        frames: how many there are.
        count: of drawings.
        block: so many frames, one after the other, are drawn together: frames of a film are alike.
        seed: of the draw.

    Returns:
        How often each frame is drawn, int (count + 1, frames); in the first row, once.
    """
    blocks = -(-frames // block)
    drawn = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), count)
    weights = np.repeat(drawn, block, axis=1)[:, :frames]
    return np.concatenate([np.ones((1, frames), weights.dtype), weights])


def precisions(found: Sequence[np.ndarray], objects: np.ndarray, weights: np.ndarray) -> Precisions:
    """Work out average precisions by COCO's rules.

    Args:
        found: for each frame what ``matched`` says.
        objects: true boxes by frame and class, int (frames, classes).
        weights: of frames, (drawings, frames); see ``drawings``.
    """
    frame = np.repeat(np.arange(len(found)), [len(each) for each in found])
    boxes = np.concatenate([*found, np.zeros(0, MATCHED)])
    totals = weights @ objects
    shape = totals.shape
    coco, map50 = np.full(shape, np.nan), np.full(shape, np.nan)
    for label in range(shape[1]):
        of_class = np.flatnonzero(boxes["label"] == label)
        order = of_class[np.argsort(-boxes["score"][of_class], kind="stable")]
        right = (boxes["right"][order] & _BITS[:, np.newaxis]) > 0
        of_frame = frame[order]
        for drawing, total in enumerate(totals[:, label]):
            if total:
                values = _average_precisions(right, weights[drawing, of_frame], total)
                coco[drawing, label], map50[drawing, label] = values.mean(), values[0]
    return Precisions(coco, map50)


def _average_precisions(right: np.ndarray, weights: np.ndarray, total: int) -> np.ndarray:
    """Return it for each overlap.

    Args:
        right: whether boxes are right, the surest first, bool (overlaps, boxes).
        weights: of each box, int (boxes,).
        total: weight of all true boxes, above zero.
    """
    drawn = np.flatnonzero(weights)
    weights = weights[drawn]
    hits = np.cumsum(right[:, drawn] * weights, axis=1)
    reached = hits / np.cumsum(weights)
    # The best at that recall or a higher one; none beyond the last.
    best = np.maximum.accumulate(reached[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recalls = hits / total
    places = np.stack([np.searchsorted(each, _RECALLS) for each in recalls])
    return np.take_along_axis(best, places, axis=1).mean(axis=1)


def _over_classes(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(1) / np.maximum(known.sum(1), 1)
