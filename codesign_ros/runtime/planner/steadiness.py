"""When another plan is worth the change: by what it gains, against noise and against its cost."""

from __future__ import annotations

import math

# A gain must be above so many standard deviations of what the two estimates may be off by.
CONFIDENCE = 1.0
# After a plan that was chosen, and not forced, another must be better by so much more [log], less
# and less of it as time goes on [s]: a second change soon is one that the first should have been.
HOLD_GAIN, HOLD_S = 0.35, 300.0
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

    An event is what surely changed: the link's rate, a device's state. It may always bring another
    plan. A load that comes or goes is not as sure, and may be gone as soon. Where only estimates
    are other ones than before, a gain must be the greater the shorter ago the last change was.

    Rarely, when nothing happened for long, a plan is tried that seems better without being known:
    forced sampling, as Autodidactic Neurosurgeon (Zhang et al. 2021) does, and as seldom as a user
    does not mind.

    A gain lasts until the next event or load, which come about as often as they came so far; a
    change of plans takes the devices time that frames then lack.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.cost_s = _COST_S
        self._start_s = now_s
        self._news = 0
        self._chosen_s = -math.inf
        self._switched_s = now_s
        self._event_s = -math.inf

    def event(self, now_s: float) -> None:
        """Note that something surely changed, at a time on any steady clock [s]."""
        self._news += 1
        self._event_s = now_s

    def load(self) -> None:
        """Note that a device seems to take another time than before."""
        self._news += 1

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
            self._chosen_s = now_s

    def is_held(self, now_s: float) -> bool:
        """Whether another plan must be better by more than what the estimates may be off by."""
        return self._more_gain(now_s) > 0.0

    def is_worth_it(self, gain: float, least_gain: float, spread: float, now_s: float) -> bool:
        """Decide.

        Args:
            gain: logarithm of the ratio of the two plans' objectives.
            least_gain: share of the objective below which no plan is changed.
            spread: standard deviation of ``gain``.
            now_s: the time on any steady clock [s].
        """
        doubt = CONFIDENCE * spread if now_s - self._switched_s < SAMPLE_S else 0.0
        share = -math.expm1(-gain)
        if share < least_gain or gain < doubt + self._more_gain(now_s):
            return False
        return share * self.lasts_s(now_s) > self.cost_s

    def lasts_s(self, now_s: float) -> float:
        """How long things are likely to stay as they are [s]."""
        return (now_s - self._start_s + _USUAL_S) / (self._news + 1)

    def _more_gain(self, now_s: float) -> float:
        """What a gain must be beyond doubt because the last change was so lately [log]."""
        if self._is_fresh(now_s):
            return 0.0
        return HOLD_GAIN * max(0.0, 1.0 - (now_s - self._chosen_s) / HOLD_S)

    def _is_fresh(self, now_s: float) -> bool:
        return now_s - self._event_s < _FRESH_S
