"""How old a frame is by its stamp, and when nobody can tell."""

from __future__ import annotations

import math

# A frame whose stamp is older than this was not stamped by the robot's clock [s].
STRANGE_AGE_S = 10.0
# A stamp may be so far ahead: a camera's clock that follows the robot's, or a simulation whose
# picture comes before its tick of the clock [s].
_AHEAD_S = 0.1


def age_s(stamp_ns: int, now_ns: int) -> float:
    """How old a frame is [s]; NaN where its stamp cannot be right.

    That is one of zero, in the future, or of another clock.

    Args:
        stamp_ns: its stamp [ns].
        now_ns: the robot's clock, which the stamp should be of [ns].
    """
    age = (now_ns - stamp_ns) / 1e9
    if stamp_ns <= 0 or not -_AHEAD_S <= age <= STRANGE_AGE_S:
        return math.nan
    return max(0.0, age)
