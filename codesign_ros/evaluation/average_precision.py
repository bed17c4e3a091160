"""How good a detector is: COCO's average precision, worked out by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError, listed

COCO_KEYS = ("ap", "ap_small", "ap_medium", "ap_large")
"""COCO's AP of all objects and by their area in pixels: up to 32^2, up to 96^2, above."""

# What overlap makes a found box a true one: loosely, and then as COCO averages over.
_LOOSE = 0.3
_OVERLAPS = (_LOOSE, *(0.5 + 0.05 * step for step in range(10)))
_COCO = slice(1, None)

MAX_DETECTIONS = 100
"""Boxes of a class in a frame that count, best first, as COCO has it."""


@dataclass(frozen=True)
class DetectionMetrics:
    """Average precision of a detector, each 0 to 1, None where there is no such object.

    Attributes:
        map50: by class, AP at an overlap (IoU) of 0.5: the paper's Acc-helmet and Acc-person.
        coco: by ``COCO_KEYS``, the mean over classes and over overlaps 0.5, 0.55 ... 0.95.
        frames: number of frames.
        map30: by class, AP at an overlap of 0.3: where a box is near enough for a person.
        precision50: by class that occurs, precision at the recalls 0, 0.01 ... 1 at an overlap of
            0.5, each time the best at that recall or a higher one.
    """

    map50: Mapping[str, float | None]
    coco: Mapping[str, float | None]
    frames: int
    map30: Mapping[str, float | None] = field(default_factory=dict)
    precision50: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def mean_map50(self) -> float | None:
        """mAP@0.5: the mean of ``map50`` over the classes that occur; None where none does."""
        return _mean_over_classes(self.map50)

    @property
    def mean_map30(self) -> float | None:
        """mAP@0.3, likewise."""
        return _mean_over_classes(self.map30)

    def to_json(self) -> dict[str, Any]:
        """Return the averages as a JSON object."""
        return {"map30": dict(self.map30), "map50": dict(self.map50), "coco": dict(self.coco)}


def _mean_over_classes(values: Mapping[str, float | None]) -> float | None:
    known = [value for value in values.values() if value is not None]
    return float(np.mean(known)) if known else None


def measure(
    truths: Sequence[Sequence[Box]],
    predictions: Sequence[Sequence[Box]],
    classes: Sequence[str],
    *,
    ignore_unknown: bool = False,
) -> DetectionMetrics:
    """Compare predicted boxes with the true ones, by COCO's rules.

    A prediction counts as right if it overlaps a true box of its class that no better prediction
    has taken. Precision is read at 101 recalls, from 0 to 1, each time the best at that recall or
    a higher one.

    Args:
        truths: for each frame the boxes that are there, in pixels of the frame.
        predictions: for each frame the boxes that were found, with scores, likewise.
        classes: names of the classes that the network knows.
        ignore_unknown: leave out true boxes of other classes, for a data set that has more classes
            than the network; a prediction on such an object is then a wrong one.

    Raises:
        CodesignError: there are true boxes of a class that the network does not know.
        ValueError: the two have not the same number of frames, or a prediction is of no class.
    """
    if len(truths) != len(predictions):
        raise ValueError(f"{len(truths)} frames with truth, {len(predictions)} predicted")
    unknown = sorted({box.label for frame in truths for box in frame} - set(classes))
    if unknown and not ignore_unknown:
        raise CodesignError(
            f"the data has boxes of {', '.join(map(repr, unknown))}, which the network does not "
            f"know (it knows {listed(classes)}); rename the classes, or leave these boxes out"
        )
    foreign = sorted({box.label for frame in predictions for box in frame} - set(classes))
    if foreign:
        raise ValueError(f"predicted {foreign[0]!r}, which is not among the classes")

    evaluation = _evaluation(truths, predictions, classes)
    evaluation.evaluate()
    precision = np.asarray(evaluation.eval["precision"])[..., 0]  # overlap, recall, class, area
    at_30, at_50 = precision[:2, :, :, 0]
    return DetectionMetrics(
        map50={name: _mean(at_50[:, k]) for k, name in enumerate(classes)},
        coco={key: _mean(precision[_COCO, ..., area]) for area, key in enumerate(COCO_KEYS)},
        frames=len(truths),
        map30={name: _mean(at_30[:, k]) for k, name in enumerate(classes)},
        precision50={
            name: tuple(at_50[:, k].tolist())
            for k, name in enumerate(classes)
            if (at_50[:, k] > -1).all()
        },
    )


def jackknifed_map50(
    truths: Sequence[Sequence[Box]],
    predictions: Sequence[Sequence[Box]],
    classes: Sequence[str],
    groups: int,
) -> list[float]:
    """Return mAP@0.5 without each group of frames in turn: a group is every ``groups``-th frame.

    Boxes are compared once and for all; only the precision is worked out anew. Where there is no
    object left it is 0. For the arguments see ``measure``.
    """
    evaluation = _evaluation(truths, predictions, classes)
    evaluation.separate_eval = True
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
    evaluation.evaluate()
    # By class, then by frame.
    compared = np.array(evaluation._evalImgs_cpp, object).reshape(len(classes), len(truths))
    numbers = np.arange(len(truths))
    values = []
    for group in range(groups):
        kept = numbers[numbers % groups != group]
        evaluation._evalImgs_cpp = list(compared[:, kept].flat)
        evaluation._paramsEval.imgIds = [int(number) + 1 for number in kept]
        evaluation.accumulate()
        precision = np.asarray(evaluation.eval["precision"])[0, :, :, 0, 0]
        known = [value for value in map(_mean, precision.T) if value is not None]
        values.append(float(np.mean(known)) if known else 0.0)
    return values


def _evaluation(
    truths: Sequence[Sequence[Box]], predictions: Sequence[Sequence[Box]], classes: Sequence[str]
) -> COCOeval_faster:
    """Return what compares them at ``_OVERLAPS``; classes and frames are numbered from 1."""
    ids = {name: k for k, name in enumerate(classes, start=1)}
    true = [
        {**_annotation(frame, box, ids[box.label]), "iscrowd": 0}
        for frame, boxes in enumerate(truths, start=1)
        for box in boxes
        if box.label in ids
    ]
    for number, annotation in enumerate(true, start=1):
        annotation["id"] = number
    found = [
        {**_annotation(frame, box, ids[box.label]), "score": box.score}
        for frame, boxes in enumerate(predictions, start=1)
        for box in boxes
    ]
    data = COCO(
        {
            "images": [{"id": frame} for frame in range(1, len(truths) + 1)],
            "categories": [{"id": k, "name": name} for name, k in ids.items()],
            "annotations": true,
        }
    )
    # It would print its messages.
    evaluation = COCOeval_faster(data, data.loadRes(found), "bbox", print_function=lambda _: None)
    evaluation.params.iouThrs = np.array(_OVERLAPS)
    evaluation.params.maxDets = [MAX_DETECTIONS]
    return evaluation


def _annotation(frame: int, box: Box, category: int) -> dict[str, Any]:
    width, height = box.x_max - box.x_min, box.y_max - box.y_min
    return {
        "image_id": frame,
        "category_id": category,
        "bbox": [float(value) for value in (box.x_min, box.y_min, width, height)],
        "area": float(width * height),
    }


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
