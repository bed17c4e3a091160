"""When another plan is worth the change: by what it gains, against noise and against its cost."""

from __future__ import annotations

import math

# A gain must be above so many standard deviations of what the two estimates may be off by.
CONFIDENCE = 1.0
# After a plan that was chosen on estimates alone, so long nothing but an event brings another [s].
HOLD_S = 300.0
# A plan that has been in force for so long may give way to one that is better by estimates alone,
# whatever they may be off by: what was misjudged once would never be found again else [s].
SAMPLE_S = 600.0
# So long after an event its plan may come [s]: times under the new conditions must show first.
_FRESH_S = 15.0
# How often events come, before any was seen [s].
_USUAL_S = 60.0
# What a change of plans costs before one was measured [s]: engines are built beside the frames.
_COST_S = 0.5
_COST_WEIGHT = 0.3


class Steadiness:
    """Decides for one robot whether a better plan is worth the change.

    An event is what really changed: the link's rate, a load, a profile that proved wrong. It may
    always bring another plan. Without one, the same estimates only become more precise, and a
    second change within ``HOLD_S`` would be one that the first should have been.

    Rarely, when nothing happened for long, a plan is tried that seems better without being known:
    forced sampling, as Autodidactic Neurosurgeon (Zhang et al. 2021) does, and as seldom as a user
    does not mind.

    A gain lasts until the next event, which comes about as often as events came so far; a change of
    plans takes the devices time that frames then lack.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.cost_s = _COST_S
        self._start_s = now_s
        self._events = 0
        self._held_until_s = -math.inf
        self._switched_s = now_s
        self._event_s = -math.inf

    def event(self, now_s: float) -> None:
        """Note that something really changed, at a time on any steady clock [s]."""
        self._events += 1
        self._event_s = now_s

    def switched(self, now_s: float, took_s: float, *, chosen: bool) -> None:
        """Note that a plan was put in force.

        Args:
            now_s: the time on any steady clock [s].
            took_s: how long its preparation kept the devices busy [s].
            chosen: whether the old one could have stayed.
        """
        self.cost_s += _COST_WEIGHT * (took_s - self.cost_s)
        self._switched_s = now_s
        if chosen and not self._is_fresh(now_s):
            self._held_until_s = now_s + HOLD_S

    def is_held(self, now_s: float) -> bool:
        """Whether no plan is to be looked for now."""
        return now_s < self._held_until_s and not self._is_fresh(now_s)

    def is_worth_it(self, gain: float, least_gain: float, spread: float, now_s: float) -> bool:
        """Decide.

        Args:
            gain: share of the objective by which the other plan is better.
            least_gain: share below which no plan is changed.
            spread: standard deviation of ``gain``.
            now_s: the time on any steady clock [s].
        """
        doubt = CONFIDENCE * spread if now_s - self._switched_s < SAMPLE_S else 0.0
        if self.is_held(now_s) or gain < max(least_gain, doubt):
            return False
        return gain * self.lasts_s(now_s) > self.cost_s

    def lasts_s(self, now_s: float) -> float:
        """How long things are likely to stay as they are [s]."""
        return (now_s - self._start_s + _USUAL_S) / (self._events + 1)

    def _is_fresh(self, now_s: float) -> bool:
        return now_s - self._event_s < _FRESH_S
