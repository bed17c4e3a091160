"""Whether the own process stood still: what was not heard meanwhile was not silent."""

from __future__ import annotations

import math


class Stalls:
    """Notices that something which is done periodically was not done for a while.

    A process that was frozen, or got no processor, finds all clocks ahead and the messages of that
    time still unread; it must not take others for gone before it has read them.

    Times are of any one steady clock [s]. Not thread safe.

    Args:
        limit_s: longer than the period, also on a busy machine [s].
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._done_s = math.inf

    def missed_s(self, now_s: float) -> float:
        """For how long it was not done when it is begun now; 0 where that is usual [s]."""
        missed_s = now_s - self._done_s
        return missed_s if missed_s > self._limit_s else 0.0

    def done(self, now_s: float) -> None:
        """Note that it is done; what it took itself is no stall."""
        self._done_s = now_s
