"""What a network says of one frame, by the task of its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection, decode_detections
from codesign_ros.runtime.messages import Answer, Result, TailAnswer
from codesign_ros.types.errors import CodesignError


class NotFiniteError(CodesignError):
    """A network's output is no number, so that no answer would be right."""


def answer_of(message: Result | TailAnswer) -> Answer:
    """The part of a result, or of what a tail says, that the network decided."""
    return Answer(**{part.name: getattr(message, part.name) for part in fields(Answer)})


def answer_from(outputs: Mapping[str, np.ndarray], bundle: Bundle, selection: Selection) -> Answer:
    """Read a network's outputs as the bundle's task says.

    Args:
        outputs: arrays by name, as ``bundle.crossings[-1]`` has them.
        bundle: gives task and classes.
        selection: which boxes of a detector count.

    Raises:
        NotFiniteError: an output is not finite.
    """
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise NotFiniteError(f"the network's output {name!r} is not finite")
    if bundle.task == "classification":
        (logits,) = outputs.values()
        return classified(logits, bundle.classes)
    if bundle.task == "detection":
        (proposals,) = outputs.values()
        boxes = decode_detections(proposals, bundle.classes, **asdict(selection), form=bundle.boxes)
        return Answer(detections=tuple(boxes))
    return Answer()


def classified(logits: np.ndarray, classes: tuple[str, ...]) -> Answer:
    """Turn finite logits (1, classes) into probabilities (softmax)."""
    shifted = np.asarray(logits[0], np.float64)
    exponentials = np.exp(shifted - shifted.max())
    shares = exponentials / exponentials.sum()
    best = int(shares.argmax())
    return Answer(
        label=classes[best],
        score=float(shares[best]),
        class_names=classes,
        class_scores=tuple(shares.tolist()),
    )
