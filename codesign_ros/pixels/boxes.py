"""Detector's output to boxes: threshold, non-maximum suppression, back to the frame's pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.pixels.letterbox import Letterbox
from codesign_ros.types.boxes import CENTRE, CORNERS, Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

# Suppression compares candidates in pairs: only so many of the best of them keep its time bounded.
_MAX_CANDIDATES = 3000


@dataclass(frozen=True)
class Selection:
    """Which of the boxes that a network proposes are answers.

    The defaults are what the nodes answer. What a person looks at needs ``DISPLAY_THRESHOLD``, and
    precision over all scores ``ALL_SCORES``.

    Attributes:
        score_threshold: boxes need a score above it, 0 to 1.
        iou_threshold: of two boxes of one class whose intersection over union is above it, only
            the one with the higher score stays.
        max_detections: at most so many boxes a frame, those with the highest scores.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.6
    max_detections: int = 100


DISPLAY_THRESHOLD = 0.3
"""Score from which a box is worth showing to a person."""

ALL_SCORES = Selection(score_threshold=0.001)
"""Boxes for judging a detector: average precision is over all scores, and YOLO's validation keeps
boxes from this one on. Nodes do not send as many."""


def decode_detections(
    output: np.ndarray,
    classes: Sequence[str],
    *,
    score_threshold: float = Selection.score_threshold,
    iou_threshold: float = Selection.iou_threshold,
    max_detections: int = Selection.max_detections,
    form: str = CORNERS,
) -> list[Box]:
    """Turn a detector's output into boxes.

    An anchor whose scores pass in several classes gives a box in each of them: the scores are
    independent. Boxes without an area are left out.

    Args:
        output: (1, 4 + C, anchors) float32: the four numbers of ``form`` in pixels of the network's
            input, then C scores, 0 to 1.
        classes: names of the C classes.
        score_threshold: see ``Selection``.
        iou_threshold: see ``Selection``.
        max_detections: see ``Selection``.
        form: ``CORNERS`` or ``CENTRE``, as the bundle says.

    Returns:
        Boxes in pixels of the network's input, not clipped to it, highest score first; of equal
        scores the one of the earlier class, then of the earlier anchor, comes first.

    Raises:
        CodesignError: the output has another shape, or not all of it is finite.
    """
    if output.ndim != 3 or output.shape[:2] != (1, 4 + len(classes)):
        raise CodesignError(
            f"the network's output is {output.shape}, not (1, {4 + len(classes)}, anchors) as "
            f"{len(classes)} classes need"
        )
    if not np.isfinite(output).all():
        raise CodesignError(
            "the network's output is not finite: the input or the weights are damaged"
        )
    corners, scores = _corners(output[0, :4], form), output[0, 4:]
    has_area = (corners[2] > corners[0]) & (corners[3] > corners[1])
    labels, anchors = np.nonzero((scores > score_threshold) & has_area)
    if not len(labels):
        return []
    # Stable, so that equal scores stay in the order of class and anchor, here and in OpenCV.
    best = np.argsort(-scores[labels, anchors], kind="stable")[:_MAX_CANDIDATES]
    labels, anchors = labels[best], anchors[best]
    chosen_scores = scores[labels, anchors]
    chosen = corners[:, anchors].T.astype(np.float64)
    # OpenCV keeps classes apart by moving each beyond the largest coordinate of all: none may be
    # negative.
    starts, sizes = chosen[:, :2] - chosen.min(), chosen[:, 2:] - chosen[:, :2]
    rectangles = np.concatenate((starts, sizes), axis=1)
    indices = cv2.dnn.NMSBoxesBatched(
        rectangles.tolist(), chosen_scores.tolist(), labels.tolist(), 0.0, iou_threshold
    )
    kept = np.asarray(indices, np.int64)[:max_detections]
    boxes = zip(labels[kept], chosen[kept].tolist(), chosen_scores[kept].tolist(), strict=True)
    return [
        Box(classes[label], x_min, y_min, x_max, y_max, score)
        for label, (x_min, y_min, x_max, y_max), score in boxes
    ]


def _corners(boxes: np.ndarray, form: str) -> np.ndarray:
    """Turn boxes (4, anchors) of this form into x_min, y_min, x_max, y_max."""
    if form != CENTRE:
        return boxes
    centres, halves = boxes[:2], boxes[2:] / 2
    return np.concatenate((centres - halves, centres + halves))


def to_frame(
    boxes: Iterable[Box], frame_height: int, frame_width: int, spec: InputSpec
) -> list[Box]:
    """Map boxes from pixels of the network's input to pixels of the frame that was letterboxed.

    Boxes are clipped to the frame; one that lies in the letterbox's border alone is left out.

    Args:
        boxes: in pixels of the network's input.
        frame_height: height of the frame [px].
        frame_width: width of the frame [px].
        spec: the network's input.
    """
    letterbox = Letterbox.of(frame_height, frame_width, spec)
    height, width = float(frame_height), float(frame_width)
    clipped = []
    for box in map(letterbox.to_frame, boxes):
        x_min, x_max = min(max(box.x_min, 0.0), width), min(max(box.x_max, 0.0), width)
        y_min, y_max = min(max(box.y_min, 0.0), height), min(max(box.y_max, 0.0), height)
        if x_max > x_min and y_max > y_min:
            clipped.append(Box(box.label, x_min, y_min, x_max, y_max, box.score))
    return clipped
