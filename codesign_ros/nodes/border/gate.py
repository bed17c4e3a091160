"""How many messages of whom are taken in: a flood costs a bounded part of a node's time.

A message that is left out is not read, and costs what the middleware takes to hand it over. Those
who are known have a rate each, which nobody else can use up; all others share one.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from codesign_ros.nodes.border.cdr import COUNTS, HEADER_BYTES

# Of one sender: signs of life come twice a second, from each of two nodes of one name.
_EACH_HZ, _EACH_BURST = 10.0, 20
# A window in which messages are counted [s], and how many that were left out make a flood.
_WINDOW_S, _FLOOD = 2.0, 50
# Senders that are remembered at most; those who are known are fewer.
_MOST_SENDERS = 4096


class Allowance:
    """Messages that may come: so many a second in the long run, and so many at once."""

    def __init__(self, rate_hz: float, burst: int, now_s: float) -> None:
        self._rate_hz, self._burst = rate_hz, burst
        self._left, self._now_s = float(burst), now_s

    def take(self, now_s: float) -> bool:
        """Whether one more may come now; it is counted then."""
        self._left = min(self._burst, self._left + self._rate_hz * (now_s - self._now_s))
        self._now_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Gate:
    """Stands before the messages of one topic, as bytes.

    Args:
        name_at: where the sender's name begins in a message, behind its header [bytes].
        is_known: whether a sender of that name is one that matters.
        others_hz: messages of all others together [1/s].
        others_burst: and so many of them at once.
        is_each_limited: whether those who are known have a limit; not where each message counts.
    """

    def __init__(
        self,
        name_at: int,
        is_known: Callable[[str], bool],
        others_hz: float,
        others_burst: int,
        *,
        is_each_limited: bool = True,
    ) -> None:
        self._name_at = name_at
        self._is_known = is_known
        self._is_each_limited = is_each_limited
        self._each: dict[str, Allowance] = {}
        self._others = Allowance(others_hz, others_burst, 0.0)
        # Messages that were left out in all, and in the window that began then [s].
        self.left_out = 0
        self._lately, self._window_s = 0, float("-inf")
        self._flooded_s = float("-inf")

    def admits(self, data: bytes, now_s: float | None = None) -> bool:
        """Whether a message is to be read."""
        now_s = time.monotonic() if now_s is None else now_s
        name = sender_of(data, self._name_at)
        if name and self._is_known(name):
            if not self._is_each_limited:
                return True
            if len(self._each) > _MOST_SENDERS:
                self._each.clear()
            if name not in self._each:
                self._each[name] = Allowance(_EACH_HZ, _EACH_BURST, now_s)
            allowance = self._each[name]
        else:
            allowance = self._others
        if allowance.take(now_s):
            return True
        self._leave_out(now_s)
        return False

    def is_flooded(self, now_s: float, within_s: float) -> bool:
        """Whether so many came lately that silence is no sign: others may have been lost by them.

        Args:
            now_s: the time [s].
            within_s: lately.
        """
        return now_s - self._flooded_s <= within_s

    def _leave_out(self, now_s: float) -> None:
        self.left_out += 1
        if now_s - self._window_s > _WINDOW_S:
            self._lately, self._window_s = 0, now_s
        self._lately += 1
        if self._lately >= _FLOOD:
            self._flooded_s = now_s


def sender_of(data: bytes, name_at: int) -> str:
    """The name that a serialized message begins with; empty where it cannot be told."""
    count = COUNTS.get(data[1]) if len(data) > HEADER_BYTES else None
    begin = HEADER_BYTES + name_at
    if count is None or len(data) < begin + 4:
        return ""
    try:
        (length,) = count.unpack_from(data, begin)
        return str(data[begin + 4 : begin + 3 + length], "utf-8") if 0 < length <= 257 else ""
    except (struct.error, UnicodeDecodeError):
        return ""
