"""How many frames a second a robot has, where it is not the robot that sets the pace."""

from __future__ import annotations

import math

from codesign_ros.runtime.device import StageMedians

# Before so long nothing is said, and what was that long ago counts e times less [s].
_LEAST_S, _MEMORY_S = 5.0, 20.0
# A stage that is at work for so much of the time is what the robot waits for.
_BUSY = 0.8
# Who has no frames at all is as good as never in the way [Hz].
_LEAST_HZ = 0.01


class Pace:
    """Frames a second, by the counts that a head reports with each sign of life."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._frames, self._seconds = 0.0, 0.0
        self._last = StageMedians()

    @property
    def frames_hz(self) -> float | None:
        """The rate of answers over about the last 20 s, above 0 [Hz].

        None = not known yet, or a stage is always at work: under another plan there would be more,
        or fewer.
        """
        if self._seconds < _LEAST_S:
            return None
        rate_hz, last = max(_LEAST_HZ, self._frames / self._seconds), self._last
        slowest_s = max(last.head_s + last.head_gap_s, last.link_s, last.tail_s + last.tail_gap_s)
        return rate_hz if rate_hz * slowest_s < _BUSY else None

    def take(self, running: StageMedians, now_s: float) -> None:
        """Take a report of what a head measured since its plan is in force.

        Args:
            running: the report.
            now_s: the time on any steady clock [s].
        """
        same = running.epoch == self._last.epoch and running.frames >= self._last.frames
        more = running.frames - self._last.frames if same else running.frames
        if self._since_s is not None and now_s > self._since_s:
            passed_s = now_s - self._since_s
            kept = math.exp(-passed_s / _MEMORY_S)
            self._frames = kept * self._frames + more
            self._seconds = kept * self._seconds + passed_s
        self._since_s, self._last = now_s, running
