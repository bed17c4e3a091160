"""The frames that a policy gets most wrong, as pictures beside their truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.data.frames import FrameSource
from codesign_ros.evaluation.compare.outcome import Outcome
from codesign_ros.evaluation.compare.run import Compared
from codesign_ros.evaluation.operating_point import match, shown
from codesign_ros.evaluation.pictures import beside
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.runtime.answers import Answer
from codesign_ros.types.boxes import Box, GroundTruth

# Wide enough for two pictures of 640 px to be read on a screen, small enough for one file.
_MOST_WIDTH_PX = 1000
_JPEG_QUALITY = 75


@dataclass(frozen=True)
class WorstFrame:
    """A frame with mistakes.

    Attributes:
        number: its place in the source.
        stamp_ns: its stamp [ns].
        mistakes: boxes missed, wrong or confused.
        jpeg: what is there on the left, what was found on the right.
    """

    number: int
    stamp_ns: int
    mistakes: int
    jpeg: bytes


def worst_frames(
    source: FrameSource,
    compared: Compared,
    outcome: Outcome,
    task: str,
    classes: Sequence[str],
    most: int,
) -> list[WorstFrame]:
    """Draw the frames with most mistakes, the worst first; none where nothing is known of them.

    Args:
        source: the same frames once more.
        compared: gives truth and stamps.
        outcome: whose answers.
        task: what the network does.
        classes: names of the classes that count.
        most: how many.
    """
    mistakes: dict[int, int] = {}
    for number, answer in outcome.answers.items():
        truth = compared.truths[number]
        if truth is not None:
            mistakes[number] = match(_true(truth, task), _found(answer, task)).mistakes
    ranked = sorted((n for n in mistakes if mistakes[n]), key=lambda n: (-mistakes[n], n))[:most]
    pictures: dict[int, bytes] = {}
    for number, frame in enumerate(source if ranked else ()):
        truth = compared.truths[number]
        if number in ranked and truth is not None:
            rgb = frame.rgb()
            size = rgb.shape[1], rgb.shape[0]
            true, found = _true(truth, task, size), _found(outcome.answers[number], task, size)
            pictures[number] = _jpeg(beside(rgb, true, found, match(true, found), classes))
    return [
        WorstFrame(number, compared.stamps_ns[number], mistakes[number], pictures[number])
        for number in ranked
    ]


def _true(truth: GroundTruth, task: str, size: tuple[int, int] = (1, 1)) -> tuple[Box, ...]:
    """What is there; the class of a whole frame stands at a box of its size (width, height)."""
    if task == "detection":
        return truth.boxes
    return (Box(truth.label, 0, 0, *size),) if truth.label else ()


def _found(answer: Answer, task: str, size: tuple[int, int] = (1, 1)) -> tuple[Box, ...]:
    """What was found, likewise."""
    if task == "detection":
        return shown(answer.detections, DISPLAY_THRESHOLD)
    return (Box(answer.label, 0, 0, *size, answer.score),) if answer.label else ()


def _jpeg(rgb: np.ndarray) -> bytes:
    height, width, _ = rgb.shape
    if width > _MOST_WIDTH_PX:
        size = _MOST_WIDTH_PX, round(height * _MOST_WIDTH_PX / width)
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
