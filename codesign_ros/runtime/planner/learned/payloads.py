"""What payloads really have, learned from running frames and applied to the next solves.

A profile counts what a codec makes of the bundle's frames, one by one. What a robot sees may have
more in it or less, and a codec that knows the frame before (a neck's on a film) needs fewer bytes
than the profile says. So each family of codecs that ran at a cut has a level, the logarithm of
bytes sent over bytes profiled, learned as those of times are (``Correction``): by reports in a row
and not by a single one. It holds for all rate levels of that neck, those that were not sent too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from codesign_ros.cost.tables import CostTables
from codesign_ros.runtime.device import Payload
from codesign_ros.runtime.planner.learned.correction import Correction
from codesign_ros.types.codec_names import codec_family

# How far payloads may be off a profile, a standard deviation of the logarithm: scenes differ, and
# what a neck's frames before save of them is a fourth (docs/neck.md).
_SPREAD = 0.25
# Weight of a new report in how far payloads vary from frame to frame.
_SPREAD_WEIGHT = 0.1


class Sized(NamedTuple):
    """What a family of codecs makes of a robot's frames at one cut.

    Attributes:
        factor: of its payloads' mean, against the profile's.
        spread: their standard deviation from frame to frame, as share of the mean.
        noise: how far one report of the mean is off (a standard deviation of the logarithm).
    """

    factor: float
    spread: float
    noise: float


Sizes = Mapping[tuple[int, str], Sized]
"""By cut and family of codecs, see ``types.codec_names.codec_family``."""


@dataclass
class _Learned:
    """Level of one family at one cut, and the spread of its frames as share of their mean."""

    level: Correction = field(default_factory=lambda: Correction(1, _SPREAD))
    spread: float | None = None


class PayloadCorrection:
    """Belief of the factor between real and profiled payloads of one robot."""

    def __init__(self) -> None:
        self._learned: dict[tuple[int, str], _Learned] = {}

    def report(
        self,
        epoch: int,
        cut: int,
        payloads: Iterable[Payload],
        profiled_bytes: Mapping[tuple[int, str], float],
        now_s: float,
    ) -> bool:
        """Take what frames had under the plan in force.

        Args:
            epoch: the plan's number.
            cut: its cut.
            payloads: of the last frames, by codec; all of one family.
            profiled_bytes: mean payload by cut and codec [bytes]; what is not in it tells nothing.
            now_s: the time on any steady clock [s].

        Returns:
            Whether this shows that payloads are not as they were believed to be, noise aside.
        """
        self.fade(now_s)
        known = [each for each in payloads if profiled_bytes.get((cut, each.codec), 0) > 0]
        sent = sum(each.frames * each.mean_bytes for each in known)
        if sent <= 0:
            return False
        expected = sum(each.frames * profiled_bytes[cut, each.codec] for each in known)
        variance = sum(each.frames * each.spread_bytes**2 for each in known)
        square = sum(each.frames * each.mean_bytes**2 for each in known)
        learned = self._learned.setdefault((cut, codec_family(known[0].codec)), _Learned())
        spread = math.sqrt(variance / square)
        before = spread if learned.spread is None else learned.spread
        learned.spread = before + _SPREAD_WEIGHT * (spread - before)
        return learned.level.report(epoch, 0, sent, expected, now_s)

    def fade(self, now_s: float) -> None:
        """Let time pass, on any steady clock [s]: what is not measured goes back to the profile."""
        for learned in self._learned.values():
            learned.level.fade(now_s)

    @property
    def sizes(self) -> dict[tuple[int, str], Sized]:
        """What is known now."""
        return {
            place: Sized(learned.level.load, learned.spread or 0.0, learned.level.noise)
            for place, learned in self._learned.items()
            if learned.level.load is not None
        }

    def variance(self, weights: Mapping[tuple[int, str], float]) -> float:
        """Variance of a weighted sum of the logarithms of factors, of those that were measured.

        Args:
            weights: by cut and family.
        """
        known = self.sizes.keys() & weights.keys()
        return sum(self._learned[p].level.spread(np.array([weights[p]])) ** 2 for p in known)


def with_sizes(tables: CostTables, sizes: Sizes, *, camera_jpegs: bool) -> CostTables:
    """Put what was learned into a model's tables.

    Args:
        tables: with profiled payloads.
        sizes: what was learned.
        camera_jpegs: ``jpeg`` at cut 0 is the camera's own, whose size the head says itself.
    """
    if not sizes:
        return tables
    payload = tables.payload_bytes.copy()
    spread = np.zeros(payload.shape)
    if tables.payload_spread is not None:
        spread = tables.payload_spread.copy()
    for place, codec in enumerate(tables.axes.codecs):
        for cut in range(len(payload)):
            sized = sizes.get((cut, codec_family(codec)))
            if sized is not None and not (camera_jpegs and (cut, codec) == (0, "jpeg")):
                payload[cut, place] *= sized.factor
                spread[cut, place] = sized.spread
    return replace(tables, payload_bytes=payload, payload_spread=spread)
