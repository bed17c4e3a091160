"""What the robot knows of the simulated link: the head's own meter on the simulated clock."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from codesign_ros.evaluation.compare.pipeline import Way
from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES
from codesign_ros.runtime.link.meter import LinkMeter

# The head measures the link so long before the first frame [s].
WARM_S = 10.0
# How often probes are asked for [s], and as long as the rate is not known.
_TICK_S, _LEARNING_TICK_S = 0.5, 0.1


class MeasuredLink:
    """Feeds a ``LinkMeter`` with the transfers of frames, and with the probes that it asks for.

    A probe takes no room from frames; none goes while a frame is on the link.

    Args:
        way: the link.
        look: called with the time after every round of probes from 0 on [s].
    """

    def __init__(self, way: Way, look: Callable[[float], None]) -> None:
        self.meter = LinkMeter()
        self._way = way
        self._look = look
        self._ids = itertools.count()
        # What happens when: time, order, what.
        self._events: list[tuple[float, int, Callable[[float], Any]]] = []
        # Frames on the link: from when to when.
        self._crossings_s: deque[tuple[float, float]] = deque()
        self._at(-WARM_S, self._tick)

    def transfer(self, size_bytes: int, sent_s: float, answered_s: float, remote_s: float) -> None:
        """Take in a frame's transfer, of which the meter hears as time goes on.

        Args:
            size_bytes: the payload [bytes].
            sent_s: when it had the link [s].
            answered_s: when the answer was there [s].
            remote_s: what the server spent on it [s].
        """
        self._crossings_s.append((sent_s, answered_s - remote_s))
        self._note(size_bytes, sent_s, answered_s, remote_s, is_frame=True)

    def advance(self, now_s: float) -> None:
        """Let all happen that happens up to a time [s]."""
        while self._events and self._events[0][0] <= now_s:
            time_s, _, happen = heapq.heappop(self._events)
            happen(time_s)

    def _note(
        self, size_bytes: int, sent_s: float, answered_s: float, remote_s: float, *, is_frame: bool
    ) -> None:
        key, meter = next(self._ids), self.meter

        def sent(now_s: float) -> None:
            meter.sent(key, size_bytes, now_s, is_frame)
            if not is_frame:
                meter.probe_sent(key, size_bytes, now_s)

        self._at(sent_s, sent)
        self._at(answered_s, lambda now_s: meter.answered(key, now_s, remote_s))

    def _tick(self, now_s: float) -> None:
        while self._crossings_s and self._crossings_s[0][1] <= now_s:
            self._crossings_s.popleft()
        if not any(start_s <= now_s for start_s, _ in self._crossings_s):
            sent_s = now_s
            for size_bytes in self.meter.probes(now_s):
                across_s = self._way.rate.across_s(sent_s, size_bytes + OVERHEAD_BYTES)
                answered_s = across_s + self._way.delay_s + self._way.back_s
                self._note(size_bytes, sent_s, answered_s, 0.0, is_frame=False)
                sent_s = across_s
        if now_s >= 0:
            self._look(now_s)
        self._at(now_s + (_LEARNING_TICK_S if self.meter.learning else _TICK_S), self._tick)

    def _at(self, time_s: float, happen: Callable[[float], Any]) -> None:
        heapq.heappush(self._events, (time_s, next(self._ids), happen))
