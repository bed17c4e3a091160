"""How much of a device's load is of the kind that passes, by how it came and went before.

A virtual machine whose host is shared, a governor of clock rates, a garbage collector: some loads
come and go every few seconds. Whoever plans for the next minutes by what such a load is at this
moment takes another plan each time, and the wrong one for half of the time. What counts for a plan
is the mean. A load that came and stays is something else, and it looks the same when it comes: only
what went back before is taken to go back again, and no more of it than that.
"""

from __future__ import annotations

import math

# The mean is that of about so long, or since it is known [s].
_MEAN_S = 60.0
# That a load went back falls into oblivion in this time [s].
_FORGOTTEN_S = 300.0
# What goes back by so much of its way turned around; less is noise on the way.
_TURNED = 0.5


class PassingLoad:
    """The way of a load, a logarithm, with what of it went back."""

    def __init__(self) -> None:
        self._now = self._mean = 0.0
        self._known_s = 0.0
        # Where it turned around last, and how far it has come since.
        self._turn = self._extreme = 0.0
        self._swing = 0.0

    def move(self, by: float) -> None:
        """Note that the load is another one [log]."""
        self._now += by
        ahead, back = self._extreme - self._turn, self._extreme - self._now
        if ahead * back <= 0:
            self._extreme = self._now
            return
        self._swing = max(self._swing, min(abs(back), abs(ahead)))
        if abs(back) >= _TURNED * abs(ahead):
            self._turn, self._extreme = self._extreme, self._now

    def fade(self, passed_s: float) -> None:
        """Let time pass [s]."""
        if passed_s <= 0:
            return
        self._known_s += passed_s
        over_s = min(_MEAN_S, self._known_s)
        self._mean += (1.0 - math.exp(-passed_s / over_s)) * (self._now - self._mean)
        self._swing *= math.exp(-passed_s / _FORGOTTEN_S)

    @property
    def passing(self) -> float:
        """What of the load is likely to go back soon; below 0 where more is likely to come [log].

        That is what lies between it and its mean, as far as loads went back lately.
        """
        off = self._now - self._mean
        return math.copysign(min(abs(off), self._swing), off)
