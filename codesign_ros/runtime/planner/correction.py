"""What the cost model got wrong, learned from running frames and applied to the next solves.

A model knows a device as it was when it was profiled. Afterwards other work may come to the device,
or leave it, and a profile of one cut may be off. So the measured time of a half is

    t(c) = load * own(c) * predicted(c),

``load`` for everything that the device runs, ``own(c)`` for one cut. Which of the two it was is
told by when it showed: what changes under a standing plan is the load; what is off from the first
frames of another cut on is that cut's own, and where most of the cuts that were tried seem to be
off, it is the load after all. Without ``own`` a cut whose profile is too good would be chosen,
found slow, left because the device seems busy, and chosen again.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from statistics import median

import numpy as np

from codesign_ros.cost.tables import CostTables

# A device this much faster or slower than predicted is not what the model is about, and one odd
# figure must not rule a device out for good.
LEAST_FACTOR, GREATEST_FACTOR = 0.25, 20.0
# What nobody measures any more is believed half as much, on a logarithmic scale, after this time
# [s]: a server that was left because it was busy is tried again after some minutes. How wrong a
# profile is changes less.
LOAD_HALF_LIFE_S = 30.0
OWN_HALF_LIFE_S = 600.0
# A stage shorter than this is as long as the scheduler likes [s].
LEAST_STAGE_S = 0.002
# Reports that must agree before anything is learned: most of a window of so many.
_AGREE = 3
_WINDOW = 2 * _AGREE - 1


class Correction:
    """Factor between a stage's real and its predicted time, by cut.

    A level of load shows once most of the last reports have it, and the middle one of them counts:
    a burst of few reports changes nothing, and noise less than the level itself.

    Args:
        least: smallest factor.
        greatest: greatest factor.
    """

    def __init__(self, least: float = LEAST_FACTOR, greatest: float = GREATEST_FACTOR) -> None:
        self._least_log, self._greatest_log = math.log(least), math.log(greatest)
        self._load = 0.0  # logarithms, all of them
        self._own: dict[int, float] = {}
        self._seen: deque[float] = deque(maxlen=_WINDOW)
        self._cut: int | None = None
        self._epoch: int | None = None
        self._is_new_cut = False
        self._faded_s = -math.inf

    def report(self, epoch: int, cut: int, measured_s: float, predicted_s: float) -> None:
        """Take what a stage took under the plan in force.

        Args:
            epoch: the plan's number.
            cut: its cut.
            measured_s: time of the stage [s].
            predicted_s: what the model says without correction [s].
        """
        if predicted_s <= 0 or max(measured_s, predicted_s) < LEAST_STAGE_S:
            return
        if epoch != self._epoch:
            self._is_new_cut = self._cut is not None and cut != self._cut
            self._epoch, self._cut = epoch, cut
            self._seen.clear()
        ratio_log = math.log(measured_s / predicted_s) if measured_s > 0 else -math.inf
        self._seen.append(min(max(ratio_log, self._least_log), self._greatest_log))
        if len(self._seen) < _AGREE:
            return
        level = median(self._seen)
        if self._is_new_cut:
            self._is_new_cut = False
            self._own[cut] = level - self._load
            self._share()
        else:
            self._load = level - self._own.setdefault(cut, 0.0)

    def retimed(self, cuts: Collection[int]) -> None:
        """Forget what was these cuts' own: the model has other times for them now."""
        self._own = {cut: own for cut, own in self._own.items() if cut not in cuts}
        self._share()
        if self._cut in cuts:
            self._seen.clear()

    def since(self, now_s: float) -> Correction:
        """A copy that has not faded since it was made, for when nothing of it could be measured."""
        again = copy.copy(self)
        again._own, again._seen, again._faded_s = dict(self._own), deque(maxlen=_WINDOW), now_s
        return again

    def factors(self, cuts: int) -> np.ndarray:
        """Factor for each cut, (cuts,), within the bounds."""
        logs = np.full(cuts, self._load)
        for cut, own in self._own.items():
            logs[cut] += own
        return np.exp(np.clip(logs, self._least_log, self._greatest_log))

    def _share(self) -> None:
        """What most of the cuts that were tried have in common is the load."""
        if self._own:
            shared = median(self._own.values())
            self._load += shared
            self._own = {cut: own - shared for cut, own in self._own.items()}

    def fade(self, now_s: float) -> None:
        """Let time pass, on any steady clock [s]: what is not measured goes back to 1."""
        passed_s = max(0.0, now_s - self._faded_s)
        self._faded_s = max(self._faded_s, now_s)
        self._load *= 0.5 ** (passed_s / LOAD_HALF_LIFE_S)
        left = 0.5 ** (passed_s / OWN_HALF_LIFE_S)
        self._own = {cut: own * left for cut, own in self._own.items()}


def differ(factors: np.ndarray, before: np.ndarray, band: float) -> bool:
    """Whether any factor is more than ``band`` times off what it was before."""
    return bool(np.max(np.abs(np.log(factors / before))) > math.log(band))


def corrected(tables: CostTables, head: np.ndarray, tail: np.ndarray) -> CostTables:
    """Multiply the times of head and tail, encoding and decoding included, by factors (N+1,)."""
    return replace(
        tables,
        head_s=tables.head_s * head[:, None, None],
        encode_s=tables.encode_s * head[:, None],
        tail_s=tables.tail_s * tail[None, :, None, None],
        decode_s=tables.decode_s * tail[None, :, None],
    )
