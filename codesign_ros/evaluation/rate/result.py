"""What comes out for one source: bytes and accuracy of each way, beside the raw frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from codesign_ros.evaluation.rate.resampled import Precisions, drawings, precisions
from codesign_ros.types.errors import CodesignError

RAW = "raw"
"""Name and family of the way that the others are compared with: the frame as it is."""


class Difference(NamedTuple):
    """A value, what it differs from that of the raw frames by, and how sure that is, 0 to 1.

    Attributes:
        value: average precision; NaN where the frames have no such object.
        difference: below zero where something is lost.
        standard_error: of the difference.
    """

    value: float
    difference: float
    standard_error: float


@dataclass(frozen=True)
class WayResult:
    """One way.

    Attributes:
        family: what ways that differ in their rate alone have in common.
        name: of the way.
        bytes_mean: of a frame [bytes].
        bytes_p95: so many have 95 % of the frames at most [bytes].
        ap: COCO's AP.
        map50: mAP@0.5.
        map50_by_class: AP at an overlap of 0.5.
    """

    family: str
    name: str
    bytes_mean: float
    bytes_p95: float
    ap: Difference
    map50: Difference
    map50_by_class: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; null is what is not known."""
        return {
            "family": self.family,
            "name": self.name,
            "bytes_mean": self.bytes_mean,
            "bytes_p95": self.bytes_p95,
            "ap": _json(self.ap),
            "map50": _json(self.map50),
            "map50_by_class": {name: _json(each) for name, each in self.map50_by_class.items()},
        }


@dataclass(frozen=True)
class SourceResult:
    """All ways on one source.

    Attributes:
        source: what it is.
        frames: how many.
        block: frames of it that were drawn together, see ``drawings``.
        ways: the raw frames first.
        notes: what was left out and why, a line each.
    """

    source: str
    frames: int
    block: int
    ways: tuple[WayResult, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        ways = [way.to_json() for way in self.ways]
        return {**vars(self), "ways": ways, "notes": list(self.notes)}


class Way(NamedTuple):
    """How a frame was sent."""

    family: str
    name: str


@dataclass(frozen=True, eq=False)
class Found:
    """What a network found in all frames.

    Attributes:
        objects: true boxes by frame and class, int (frames, classes).
        sent: bytes by way and frame; -1 where a way could not carry it [bytes].
        matched: for each way and frame what ``resampled.matched`` says.
    """

    objects: np.ndarray
    sent: np.ndarray
    matched: Sequence[Sequence[np.ndarray]]


def results(
    ways: Sequence[Way],
    found: Found,
    classes: Sequence[str],
    *,
    block: int,
    count: int,
    threads: int,
) -> tuple[WayResult, ...]:
    """Work out accuracies, and what they differ by from those of the first way.

    A way that could not carry every frame is left out.

    Args:
        ways: the raw frames first.
        found: in the frames.
        classes: that count.
        block: see ``drawings``.
        count: of drawings.
        threads: ways at the same time; what comes out does not depend on it.

    Raises:
        CodesignError: the frames have no object of these classes.
    """
    if not found.objects.any():
        raise CodesignError(
            f"the {len(found.objects)} frames hold no object of {', '.join(classes)}: a detector's "
            "accuracy cannot be measured on them"
        )
    weights = drawings(len(found.objects), count, block)
    whole = [place for place in range(len(ways)) if found.sent[place].min() >= 0]

    def worked_out(place: int) -> Precisions:
        return precisions(found.matched[place], found.objects, weights)

    with ThreadPoolExecutor(threads) as pool:
        measured = dict(zip(whole, pool.map(worked_out, whole), strict=True))
    raw = measured[0]
    return tuple(
        WayResult(
            ways[place].family,
            ways[place].name,
            float(found.sent[place].mean()),
            float(np.percentile(found.sent[place], 95)),
            _difference(measured[place].ap, raw.ap),
            _difference(measured[place].mean_map50, raw.mean_map50),
            {
                name: _difference(measured[place].map50[:, label], raw.map50[:, label])
                for label, name in enumerate(classes)
            },
        )
        for place in whole
    )


def _difference(values: np.ndarray, raw: np.ndarray) -> Difference:
    """The first drawing has every frame once; the others say how it varies."""
    differences = values - raw
    # A drawing may have no frame with objects of a class.
    drawn = differences[1:][~np.isnan(differences[1:])]
    error = float(drawn.std()) if len(drawn) else math.nan
    return Difference(float(values[0]), float(differences[0]), error)


def _json(difference: Difference) -> dict[str, float | None]:
    return {
        name: None if math.isnan(value) else value for name, value in difference._asdict().items()
    }
