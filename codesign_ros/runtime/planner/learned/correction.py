"""What the cost model got wrong, learned from running frames and applied to the next solves.

A model knows a device as it was when it was profiled. Afterwards other work may come to the device,
or leave it, and a profile of one cut may be off. So each cut that ran has a level, the logarithm of
measured over predicted time. A cut that never ran has the middle one of the others': what is off at
most cuts is the device's load, not their profiles.

What a cut is off by itself shows in its first reports after a change of plans. Whatever changes
while it runs is the load of all cuts: then the levels of all move by as much, so that two cuts
differ by what they showed when plans changed and by nothing that came and went since. A stage of a
few milliseconds, as that of a frame that is only encoded, says little of the long ones: what it is
off by may be the codec's or the scheduler's doing.

Reports differ from a level by noise, until a load comes or goes. Reports that go on being off to
one side are told from noise by a cumulative sum (CUSUM, Page 1954). A load that came or went a
moment ago may do the opposite as soon: where the first frames of another cut differ from what is
expected, that is then taken for the load, and not for that cut's own error. Likewise the other way
round: what a cut's first frames were off by, and later ones are not, was a load that came before
them and has gone; no other cut is quicker for it.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from statistics import median, pvariance

import numpy as np

from codesign_ros.cost.tables import CostTables
from codesign_ros.runtime.planner.learned.passing import PassingLoad

# A device this much faster or slower than predicted is not what the model is about, and one odd
# figure must not rule a device out for good.
LEAST_FACTOR, GREATEST_FACTOR = 0.25, 20.0
# What is believed before anything was measured, as standard deviations of logarithms: a device may
# be half or twice as fast as it was, a profiled half is off by some percent.
LOAD_SPREAD, OWN_SPREAD = 0.5, 0.1
# The levels of a device of which nothing is measured any more go half of the way back to 0 in this
# time [s]: a server that was left because it was busy is tried again some day.
HALF_LIFE_S = 600.0
# A cut that was reported within so long is being measured [s].
_MEASURED_S = 5.0
# A stage shorter than this is as long as the scheduler likes [s].
LEAST_STAGE_S = 0.002
# What a stage may be off by beside the load and its own share [s]; all of it counts for little in a
# long stage.
_BESIDE_S = 0.001
# Reports of a new plan of which the middle one is the first that counts.
_FIRST = 3
# Reports that a level is the mean of, at most.
_LONGEST = 50
# Noise of a report before it was seen, and the least that is believed [log].
_NOISE, _LEAST_NOISE = 0.08, 0.02
_NOISE_WEIGHT = 0.1
# CUSUM in standard deviations: what is let pass each time, the level of an alarm, and the most that
# one report counts, so that no single one makes an alarm.
_SLACK, _ALARM, _MOST = 1.0, 8.0, 5.0
# The most that one report counts in a mean, in standard deviations.
_CLIP = 2.0
# The chance that a load's last change is undone falls to a third in this time [s]; of its square a
# change of plans must reckon with so much. Without alarms a load changes by so much [log^2/s].
_UNDONE_S, _UNDONE_SHARE = 60.0, 0.25
_DRIFT = 0.005**2


@dataclass
class _Level:
    """Mean logarithm of a cut's reports, how many it stands on, and what time made of it since.

    ``faded``: variance that came with time in which nothing was measured. ``as_of_s``: when its
    last report came.
    """

    mean: float
    reports: int
    as_of_s: float
    faded: float = 0.0


class Correction:
    """Belief of the factor between a stage's real and its predicted time, by cut.

    Args:
        cuts: N+1, the number of cuts.
        load_spread: what is believed of a level before anything was measured, a standard deviation
            of the logarithm.
    """

    def __init__(self, cuts: int, load_spread: float = LOAD_SPREAD) -> None:
        self._cuts = cuts
        self._prior2 = load_spread**2
        self._levels: dict[int, _Level] = {}
        self._noise2 = _NOISE**2
        self._seen: deque[float] = deque(maxlen=_FIRST)
        self._is_new = True
        self._plan: tuple[int, int] | None = None
        # How much of what the stage that runs is off by holds for the other cuts.
        self._telling = 1.0
        self._above = self._below = 0.0
        # What the cut that runs was lately taken to be off by itself when it was new [log].
        self._own = 0.0
        # Squares of what the load changed by lately [log^2].
        self._undone = 0.0
        self._load = PassingLoad()
        self._as_of_s = -math.inf

    def report(
        self, epoch: int, cut: int, measured_s: float, predicted_s: float, now_s: float
    ) -> bool:
        """Take what a stage took under the plan in force.

        Args:
            epoch: the plan's number.
            cut: its cut.
            measured_s: time of the stage [s].
            predicted_s: what the model says without correction [s].
            now_s: the time on any steady clock [s].

        Returns:
            Whether this shows that something is not as it was believed to be, noise aside: a load
            came or went, or a cut's profile is wrong.
        """
        self.fade(now_s)
        if predicted_s <= 0 or measured_s <= 0 or max(measured_s, predicted_s) < LEAST_STAGE_S:
            return False
        if self._plan != (epoch, cut):
            self._plan = epoch, cut
            self._start_over()
        self._telling = OWN_SPREAD**2 / (OWN_SPREAD**2 + (_BESIDE_S / predicted_s) ** 2)
        # No logarithm of the ratio, which is 0 where what somebody says is small enough.
        self._seen.append(_bounded(math.log(measured_s) - math.log(predicted_s)))
        if len(self._seen) < _FIRST:
            return False
        if self._is_new:
            self._is_new = False
            return self._first(cut)
        self._note_noise()
        level = self._levels[cut]
        off = self._seen[-1] - level.mean
        level.as_of_s = self._as_of_s
        if self._is_alarm(off):
            by = median(self._seen) - level.mean
            self._undone += by**2
            back = min(max(by, -abs(self._own)), abs(self._own)) if self._own * by < 0 else 0.0
            self._own += back
            level.mean = _bounded(level.mean + back)
            self._shift(by - back)
            level.reports = 1
            return True
        before = level.mean
        self._learn(level, off)
        self._move(level.mean - before, besides=cut)
        return False

    def retimed(self, cuts: Collection[int]) -> None:
        """Forget what these cuts showed: the model has other times for them now."""
        for cut in cuts:
            self._levels.pop(cut, None)
        if self._plan is not None and self._plan[1] in cuts:
            self._start_over()

    def since(self, now_s: float) -> Correction:
        """A copy that has not faded since it was made, for when nothing of it could be measured."""
        again = copy.deepcopy(self)
        again._start_over()
        again._as_of_s = now_s
        return again

    @property
    def passing(self) -> float:
        """What of the load is likely to go back soon, see ``PassingLoad`` [log]."""
        return self._load.passing

    def factors(self) -> np.ndarray:
        """Factor for each cut at this moment, (cuts,), within the bounds."""
        return self._factors(0.0)

    def lasting_factors(self) -> np.ndarray:
        """Factor for each cut over the next minutes, likewise: without what is ``passing``."""
        return self._factors(self.passing)

    def _factors(self, passing: float) -> np.ndarray:
        logs = np.full(self._cuts, self._common())
        for cut, level in self._levels.items():
            logs[cut] = level.mean
        logs -= passing
        return np.exp(np.clip(logs, math.log(LEAST_FACTOR), math.log(GREATEST_FACTOR)))

    @property
    def load(self) -> float | None:
        """Factor of a cut that never ran; None while nothing was measured."""
        if not self._levels:
            return None
        return min(max(math.exp(self._common()), LEAST_FACTOR), GREATEST_FACTOR)

    def spread(self, weights: np.ndarray) -> float:
        """How far a weighted sum of the logarithms of factors may be off (a standard deviation).

        That is by what was measured, and by what the load may be again as soon as it changed.

        Args:
            weights: of each cut's factor, (cuts,). With weights 1 and -1 of two cuts that never
                ran, what is not known of the load counts nothing.
        """
        undone = _UNDONE_SHARE * self._undone * weights.sum() ** 2
        return math.sqrt(self._variance(weights) + undone)

    @property
    def noise(self) -> float:
        """How far one report is off its level (a standard deviation of the logarithm)."""
        return math.sqrt(self._noise2)

    def fade(self, now_s: float) -> None:
        """Let time pass, on any steady clock [s]: what is not measured goes back to the prior."""
        if self._as_of_s > -math.inf and now_s > self._as_of_s:
            passed_s = now_s - self._as_of_s
            kept = math.exp(-passed_s / _UNDONE_S)
            self._undone *= kept
            self._own *= kept
            self._load.fade(passed_s)
            left = 0.5 ** (passed_s / HALF_LIFE_S)
            for level in self._levels.values():
                if now_s - level.as_of_s < _MEASURED_S:
                    continue
                level.mean *= left
                level.faded = left**2 * level.faded + (1 - left**2) * self._prior2
        self._as_of_s = max(self._as_of_s, now_s)

    def _start_over(self) -> None:
        self._seen.clear()
        self._is_new = True
        self._above = self._below = self._own = 0.0

    def _common(self) -> float:
        """Level of a cut that never ran."""
        return median(level.mean for level in self._levels.values()) if self._levels else 0.0

    def _variance(self, weights: np.ndarray) -> float:
        """Variance of a weighted sum of the logarithms of factors by what was measured."""
        ran = np.zeros(self._cuts, bool)
        variance = 0.0
        for cut, level in self._levels.items():
            ran[cut] = True
            variance += weights[cut] ** 2 * (self._noise2 / level.reports + level.faded)
        rest = weights[~ran]
        common = rest.sum() ** 2 * self._common_variance()
        return variance + common + float(rest @ rest) * OWN_SPREAD**2

    def _newest_s(self) -> float:
        """When the last report came of any cut [s]."""
        return max((level.as_of_s for level in self._levels.values()), default=self._as_of_s)

    def _common_variance(self) -> float:
        if not self._levels:
            return self._prior2
        means = [level.mean for level in self._levels.values()]
        faded = min(level.faded for level in self._levels.values())
        return max(OWN_SPREAD**2, pvariance(means)) / len(means) + faded

    def _note_noise(self) -> None:
        """Reports differ from each other by noise alone, whatever their level is."""
        step2 = (self._seen[-1] - self._seen[-2]) ** 2 / 2
        step2 = min(step2, _MOST**2 * self._noise2)
        self._noise2 += _NOISE_WEIGHT * (step2 - self._noise2)
        self._noise2 = max(self._noise2, _LEAST_NOISE**2)

    def _first(self, cut: int) -> bool:
        """Learn from the first reports of a plan; whether they are a surprise.

        What they are off by is shared between the load, which moves all levels, and the cut.
        """
        weights = np.zeros(self._cuts)
        weights[cut] = 1.0
        own2 = self._variance(weights)
        known = self._levels.get(cut)
        # Since the levels were measured that say what is expected.
        measured_s = known.as_of_s if known else self._newest_s()
        load2 = self._undone + _DRIFT * (self._as_of_s - measured_s)
        off = median(self._seen) - (known.mean if known else self._common())
        if self._levels:
            self._shift(off * load2 / (load2 + own2))
            self._own = 0.0 if known else off * own2 / (load2 + own2)
        if known is None or known.faded > self._noise2:
            self._levels[cut] = _Level(median(self._seen), 1, self._as_of_s)
        else:
            known.as_of_s = self._as_of_s
            self._learn(known, median(self._seen) - known.mean)
        return abs(off) > 2 * math.sqrt(own2 + load2 + self._noise2)

    def _is_alarm(self, off: float) -> bool:
        """Whether reports have been off to one side for too long to be noise."""
        deviations = min(max(off / math.sqrt(self._noise2), -_MOST), _MOST)
        self._above = max(0.0, self._above + deviations - _SLACK)
        self._below = max(0.0, self._below - deviations - _SLACK)
        return max(self._above, self._below) >= _ALARM

    def _shift(self, by: float) -> None:
        """Another load: all that the device runs takes so much longer [log]."""
        self._above = self._below = 0.0
        self._move(by)

    def _move(self, by: float, besides: int | None = None) -> None:
        """Move the levels of all cuts but one by what the stage that runs is off by [log]."""
        self._load.move(self._telling * by)
        for cut, level in self._levels.items():
            if cut != besides:
                runs = self._plan is not None and cut == self._plan[1]
                level.mean = _bounded(level.mean + (by if runs else self._telling * by))

    def _learn(self, level: _Level, off: float) -> None:
        """Take a report into the mean; one that is beyond noise by far counts as little more."""
        level.reports = min(level.reports + 1, _LONGEST)
        most = _CLIP * math.sqrt(self._noise2)
        level.mean += min(max(off, -most), most) / level.reports
        level.faded *= 1 - 1 / level.reports


def _bounded(log: float) -> float:
    return min(max(log, math.log(LEAST_FACTOR)), math.log(GREATEST_FACTOR))


def corrected(tables: CostTables, head: np.ndarray, tail: np.ndarray) -> CostTables:
    """Multiply the times of head and tail, encoding and decoding included, by factors (N+1,)."""
    neck_head_s, neck_tail_s = tables.neck_head_s, tables.neck_tail_s
    return replace(
        tables,
        neck_head_s=None if neck_head_s is None else neck_head_s * head[:, None, None],
        neck_tail_s=None if neck_tail_s is None else neck_tail_s * tail[None, :, None, None],
        head_s=tables.head_s * head[:, None, None],
        encode_s=tables.encode_s * head[:, None],
        tail_s=tables.tail_s * tail[None, :, None, None],
        decode_s=tables.decode_s * tail[None, :, None],
    )
