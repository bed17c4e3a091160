"""How long a training goes on: a number of steps, or as many as fit into some time.

The machine may be shared, so that steps take longer or shorter as the training goes; a run of so
many minutes therefore counts anew, again and again, how many steps still fit.
"""

from __future__ import annotations

import time
from collections import deque
from statistics import median

MOST_MEASUREMENTS = 20
"""A measurement stands at most so often in a run: each twentieth of it."""

_MEASUREMENTS = 10  # of a run of so many steps
_MEASURED_SHARE = 0.15  # of the time of a run of so many minutes
# Time that tells how long steps take now [s], or this share of a run of so many minutes: the rate
# of learning falls with the steps that are left, which should not jump about.
_RECENT_S = 60.0
_RECENT_SHARE = 0.05
_LONGEST_PAUSE = 10.0  # steps that a step may count for
_RECOUNT_EVERY_S = 5.0
# Measurements after the last step: one more, and that of the weights that are kept.
_FINAL_MEASUREMENTS = 2
_WRITING_S = 4.0


class Pace:
    """When to measure, and how many steps there are.

    Args:
        steps: how many there are, or seem to be.
        budget_s: time for steps and measurements [s]; None = ``steps`` holds.
        spent_s: how much of it is gone [s].
        measure_s: what a measurement may take, until one is made [s].
        judge_passes: how many measurements the judgement of the trained network is worth.

    Attributes:
        steps: the number of steps, as far as is known.
    """

    def __init__(
        self,
        steps: int,
        *,
        budget_s: float | None = None,
        spent_s: float = 0.0,
        measure_s: float = 0.0,
        judge_passes: float = 1.0,
    ) -> None:
        self.steps = steps
        self._budget_s = budget_s
        self._recent_s = max(_RECENT_S, _RECENT_SHARE * (budget_s or 0.0))
        self._begun = time.monotonic() - spent_s
        self._recounted = time.monotonic()
        self._step_s: deque[float] = deque()  # the recent ones
        self._steps_s = 0.0  # their sum
        self._measure_s = measure_s
        self._final = _FINAL_MEASUREMENTS - 1 + judge_passes

    @property
    def spent_s(self) -> float:
        """Time since the training began, interruptions not counted [s]."""
        return time.monotonic() - self._begun

    def measure_now(self, done: int, last: int) -> bool:
        """Whether a measurement is due after ``done`` steps, the last being at step ``last``.

        The one after the last step is not meant.
        """
        share = 1 / self._measurements
        return done - last >= share * self.steps and self.steps - done >= 0.5 * share * self.steps

    def stepped(self, done: int, seconds: float) -> None:
        """Take note of a step, the ``done``-th, that took some time, and count anew."""
        if self._step_s:  # one long pause, of minutes, would end the training at once
            seconds = min(seconds, _LONGEST_PAUSE * median(self._step_s))
        self._step_s.append(seconds)
        self._steps_s += seconds
        while self._steps_s - self._step_s[0] > self._recent_s:
            self._steps_s -= self._step_s.popleft()
        now = time.monotonic()
        if self._budget_s is None or now - self._recounted < _RECOUNT_EVERY_S:
            return
        self._recounted = now
        left_s = self._budget_s - self.spent_s - self._reserve_s(done)
        # The mean and not the median: pauses by other processes count.
        self.steps = max(done, done + int(left_s * len(self._step_s) / self._steps_s))

    def measured(self, seconds: float) -> None:
        """Take note of a measurement that took some time."""
        self._measure_s = seconds

    @property
    def _measurements(self) -> int:
        if self._budget_s is None:
            return _MEASUREMENTS
        affordable = _MEASURED_SHARE * self._budget_s / max(self._measure_s, 1e-3)
        return int(min(max(affordable, 2), MOST_MEASUREMENTS))

    def _reserve_s(self, done: int) -> float:
        """Time for what is still to be measured and written [s]."""
        ahead = self._measurements * (1 - done / max(self.steps, done, 1))
        return (ahead + self._final) * self._measure_s + _WRITING_S


def steps_that_fit(
    budget_s: float, step_s: list[float], measure_s: float, other_passes: float
) -> int:
    """Return a first guess of how many steps fit into some time, measurements counted.

    Args:
        budget_s: the time for all [s].
        step_s: what some steps took [s].
        measure_s: what a measurement takes [s].
        other_passes: how many measurements come before the first step and behind the last
            measurement, or what takes as long.
    """
    measured_s = _MEASURED_SHARE * budget_s + (1 + other_passes) * measure_s
    return max(1, int((budget_s - measured_s) / median(step_s)))
