"""What a neck costs and what it takes: bytes a frame, and the answers with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.evaluation.average_precision import measure
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD, decode_detections
from codesign_ros.training.neck.frames import Pictures
from codesign_ros.training.neck.rate import CodeCounter, RatedNeck, entropy_bytes
from codesign_ros.training.neck.teacher import Teacher
from codesign_ros.training.tensors import to_input
from codesign_ros.types.boxes import Box
from codesign_ros.wire.neck.payload import dequantise, quantise
from codesign_ros.wire.neck.tables import CodeTables


@dataclass(frozen=True)
class RatePoint:
    """One level of a neck, measured.

    Attributes:
        bytes_a_frame: mean of what its codes take with an ideal coder [bytes].
        values: how good the answers are by metric, 0 to 1.
    """

    bytes_a_frame: float
    values: dict[str, float]


class NeckJudge:
    """Measures necks on the same pictures again and again.

    Args:
        bundle: the network.
        teacher: the same.
        pictures: what is measured on; where their truths are not known, the network's own answers
            are taken for the truth.

    Attributes:
        metric: which of the values people look at first.
        without: the values of the network without a neck.
        truths_known: whether the values are of the truth, or of agreement with the network.
        is_positive: whether what the decoders are to make has no negative numbers.
    """

    def __init__(self, bundle: Bundle, teacher: Teacher, pictures: Pictures, device: str) -> None:
        self._bundle, self._teacher, self._device = bundle, teacher, device
        self._sources: list[list[torch.Tensor]] = []
        self.is_positive = True
        answers = []
        with torch.no_grad():
            for index in range(len(pictures)):
                x = to_input(pictures.image(index)[None], bundle.input).to(device)
                sources, targets = teacher.ends(x.to(memory_format=torch.channels_last))
                self._sources.append([source.cpu() for source in sources])
                self.is_positive &= all(bool(target.min() >= 0) for target in targets)
                answers.append(teacher.answer(targets).cpu().numpy())
        self.metric, self._compare, self.truths_known = _comparison(bundle, pictures, answers)
        self.without = self._compare(answers)

    def __call__(self, rated: RatedNeck, tables: CodeTables | None = None) -> list[RatePoint]:
        """Measure a neck at each of its levels.

        Args:
            rated: the neck.
            tables: what codes take is told by these; None = by those of these pictures.
        """
        gains = gains_of(rated)
        counter = CodeCounter(gains, rated.neck.latent)
        codes: list[list[np.ndarray]] = []
        compared = []
        with torch.no_grad():
            latents = [
                latent_of(rated, [source.to(self._device) for source in sources])
                for sources in self._sources
            ]
            for level in range(rated.levels):
                codes.append([quantise(each, counter.rounding, level) for each in latents])
                answers = []
                for each in codes[level]:
                    counter.add(each, level)
                    latent = torch.from_numpy(dequantise(each, counter.rounding, level))
                    decoded = rated.neck.decode(latent.to(self._device))
                    answers.append(self._teacher.answer(decoded, rated.tail).cpu().numpy())
                compared.append(self._compare(answers))
        tables = tables or counter.tables()
        return [
            RatePoint(float(np.mean(entropy_bytes(codes[level], tables, level))), values)
            for level, values in enumerate(compared)
        ]


def count_tables(rated: RatedNeck, latents: Iterable[np.ndarray]) -> CodeTables:
    """Make a neck's tables from what its codes are.

    Args:
        rated: the neck.
        latents: of frames, float32 (1, C, h, w) each.
    """
    counter = CodeCounter(gains_of(rated), rated.neck.latent)
    for latent in latents:
        for level in range(rated.levels):
            counter.add(quantise(latent, counter.rounding, level), level)
    return counter.tables()


@torch.no_grad()
def latents_of(
    rated: RatedNeck, teacher: Teacher, pictures: Pictures, count: int
) -> Iterator[np.ndarray]:
    """Encode pictures, ``count`` of them, evenly from all: float32 (1, C, h, w) each."""
    spec = teacher.network.input_spec
    device = next(rated.parameters()).device
    count = min(count, len(pictures))
    for i in range(count):
        image = pictures.image(i * len(pictures) // count)[None]
        x = to_input(image, spec).to(device, memory_format=torch.channels_last)
        yield latent_of(rated, teacher.ends(x)[0])


def latent_of(rated: RatedNeck, sources: Sequence[torch.Tensor]) -> np.ndarray:
    """Encode one frame: float32 (1, C, h, w)."""
    return np.ascontiguousarray(rated.neck.encoder(*sources).float().cpu().numpy())


def gains_of(rated: RatedNeck) -> np.ndarray:
    """Return gains as the codec takes them, float32 (levels, C)."""
    return rated.gains().detach().cpu().numpy().astype(np.float32)


Compare = Callable[[Sequence[np.ndarray]], dict[str, float]]


def _comparison(
    bundle: Bundle, pictures: Pictures, answers: Sequence[np.ndarray]
) -> tuple[str, Compare, bool]:
    if bundle.task == "detection":
        classes = bundle.classes
        decode = partial(decode_detections, classes=classes, form=bundle.boxes)
        known = pictures.truths is not None and all(
            box.label in classes for boxes in pictures.truths for box in boxes
        )
        truths: Sequence[Sequence[Box]] = [
            [box for box in decode(each) if box.score >= DISPLAY_THRESHOLD] for each in answers
        ]
        if known and pictures.truths is not None:
            truths = pictures.truths

        def precision(found: Sequence[np.ndarray]) -> dict[str, float]:
            boxes = [decode(each) for each in found]
            metrics = measure(truths, boxes, classes)
            values = {"map50": metrics.mean_map50, "ap": metrics.coco["ap"]}
            return {name: value or 0.0 for name, value in values.items()}

        return "ap", precision, known
    if bundle.task == "classification":
        best = [int(each.argmax()) for each in answers]

        def agreement(found: Sequence[np.ndarray]) -> dict[str, float]:
            same = [int(each.argmax()) == k for each, k in zip(found, best, strict=True)]
            return {"agreement": float(np.mean(same))}

        return "agreement", agreement, False

    def likeness(found: Sequence[np.ndarray]) -> dict[str, float]:
        left = sum(float(np.square(a - b).sum()) for a, b in zip(found, answers, strict=True))
        return {"likeness": 1 - left / sum(float(np.square(b).sum()) for b in answers)}

    return "likeness", likeness, False


def to_json(points: Sequence[RatePoint]) -> list[dict[str, Any]]:
    """Return points as JSON has them."""
    return [{"bytes": round(p.bytes_a_frame, 1), **p.values} for p in points]
