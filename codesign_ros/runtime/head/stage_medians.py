"""What the stages of the plan in force really take, frame by frame."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from codesign_ros.runtime.device import WINDOW_FRAMES, StageMedians
from codesign_ros.runtime.messages import Result


class RunningTimes:
    """Medians over the last frames of the newest epoch. Not thread safe: the runtime has a lock."""

    def __init__(self) -> None:
        self._epoch = 0
        self._frames = 0
        self._times: deque[tuple[float, float, float]] = deque(maxlen=WINDOW_FRAMES)

    def add(self, result: Result, waited_s: float = 0.0) -> None:
        """Take a frame that was answered as its plan says.

        One of an older epoch counts nothing, nor does one of which the tail says what is no time.

        Waiting at the tail or for the link is not part of any stage: it comes from too many frames
        in flight, or from the load of others.

        Args:
            result: the frame's answer.
            waited_s: the part of its ``link_s`` that was waiting for the link [s].
        """
        times = (
            result.head_s + result.encode_s,
            result.link_s - waited_s,
            result.decode_s + result.tail_s,
        )
        if result.epoch < self._epoch or not all(0 <= time_s < math.inf for time_s in times):
            return
        if result.epoch > self._epoch:
            self._epoch, self._frames = result.epoch, 0
            self._times.clear()
        self._frames += 1
        self._times.append(times)

    @property
    def running(self) -> StageMedians:
        """The medians, and over how many frames since the epoch began they were taken."""
        if not self._times:
            return StageMedians()
        head_s, link_s, tail_s = map(median, zip(*self._times, strict=True))
        return StageMedians(self._epoch, self._frames, head_s, link_s, tail_s)
