"""At which rate level a frame is sent, by the link as it is, within what a plan allows.

A plan is made for one rate of the link. Between two plans the rate goes up and down, and the level
of a neck, or of the frame's JPEG, can change with every frame: so the robot solves for each frame
what of Eq. 11 depends on the level, at the rate that it measures now, among the levels that its
plan allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from codesign_ros.types.codec_names import rate_levels_of
from codesign_ros.types.plan import Plan, RateLevel

# Another level must be better by this share of the objective at least, so that the level does not
# go to and fro with the noise of the rate.
_GAIN = 0.05
# Weight of the newest frame in how its payload differs from what was predicted [log].
_WEIGHT = 0.1
# One odd frame must not rule a level out for good.
_MOST_FACTOR = 4.0


class RateLevelChoice:
    """Chooses the level of each frame under one plan. Used by one thread at a time.

    Args:
        plan: with a codec of ``rate_levels_of``.
        rate_bps: measures the uplink [bit/s]; 0 = not known, then the plan's own level is taken.
    """

    def __init__(self, plan: Plan, rate_bps: Callable[[], float]) -> None:
        own = rate_levels_of(plan.codec).index(plan.codec)
        self.level = own
        self._own = own
        self._plan = plan
        self._rate_bps = rate_bps
        self._levels = {each.level: each for each in plan.levels}
        # Payloads of this scene are larger than the predicted ones by this factor [log].
        self._larger = 0.0

    def choose(self) -> int:
        """Choose the level of the next frame."""
        rate_bps = self._rate_bps()
        if len(self._levels) < 2 or self._own not in self._levels:
            return self._own
        if rate_bps <= 0:
            self.level = self._own
            return self.level
        costs = {level: self._objective(each, rate_bps) for level, each in self._levels.items()}
        best = min(costs, key=lambda level: (costs[level], level))
        if costs[best] < (1.0 - _GAIN) * costs[self.level]:
            self.level = best
        return self.level

    def sent(self, level: int, payload_bytes: int) -> None:
        """Note how large a frame became."""
        known = self._levels.get(level)
        if known is None or known.payload_bytes <= 0 or payload_bytes <= 0:
            return
        most = math.log(_MOST_FACTOR)
        larger = min(max(math.log(payload_bytes / known.payload_bytes), -most), most)
        self._larger += _WEIGHT * (larger - self._larger)

    def _objective(self, level: RateLevel, rate_bps: float) -> float:
        """L of Eq. 11 at a level, and at the rate that the link has now [s]."""
        plan = self._plan
        occupancy_s = 8.0 * math.exp(self._larger) * level.payload_bytes / rate_bps
        loss = plan.lambda_1 * level.accuracy_loss
        if plan.objective == "throughput":
            return max(plan.head_s, occupancy_s, plan.tail_s) + loss
        planned_s = 8.0 * plan.payload_bytes / plan.link_bps if plan.link_bps > 0 else 0.0
        travel_s = max(0.0, plan.link_s - planned_s)
        return plan.head_s + occupancy_s + travel_s + plan.tail_s + loss
