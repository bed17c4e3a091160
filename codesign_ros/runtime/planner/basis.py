"""What a plan was made with, and whether what is measured now is something else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from codesign_ros.cost.lateness import STEADY, Spreads
from codesign_ros.planning.problem import CandidateCost
from codesign_ros.runtime.planner.learned.payloads import Sized, Sizes
from codesign_ros.types.plan import Plan

_AS_PROFILED = Sized(1.0, 0.0, 0.0)
# The problem is another one where a time or the rate is so many times off, or a gap so far [s], or
# so many times as many frames come.
_OTHER_TIME, _OTHER_GAP_S, _OTHER_PACE = 1.03, 0.001, 1.5


@dataclass(frozen=True, eq=False)
class Factors:
    """What the model's times lack, by what was measured.

    Attributes:
        head, tail: by what they are multiplied, (N+1,), for each cut.
        head_gap_s, tail_gap_s: what passes between two frames beside them [s].
        spreads: how far a frame's times vary.
        sizes: what payloads have against the profile's, where some were sent.
        head_passing, tail_passing: how much longer than by ``head`` and ``tail`` the stages take
            at this moment, for a load that will have passed soon [log].
        frames_hz: frames a second that the robot has, where it could do with more; None = not
            known.
    """

    head: np.ndarray
    tail: np.ndarray
    head_gap_s: float = 0.0
    tail_gap_s: float = 0.0
    spreads: Spreads = STEADY
    sizes: Sizes = field(default_factory=dict)
    head_passing: float = 0.0
    tail_passing: float = 0.0
    frames_hz: float | None = None

    @classmethod
    def none(cls, cuts: int) -> Factors:
        """Factors that change nothing."""
        return cls(np.ones(cuts), np.ones(cuts))


@dataclass(frozen=True, eq=False)
class Basis:
    """What was believed when a plan was made, or last found to be good enough.

    Attributes:
        plan: the plan.
        prediction: what it is expected to take, corrected.
        link_bps: the link's rate as it was measured or assumed [bit/s].
        factors: what the model's times were multiplied by.
    """

    plan: Plan
    prediction: CandidateCost
    link_bps: float
    factors: Factors


def differ(before: tuple[Factors, float], now: tuple[Factors, float]) -> bool:
    """Whether a time or the rate is another one, more than by what never matters.

    Args:
        before: factors and the link's rate [bit/s] at the last solve.
        now: likewise as measured now.
    """
    (old, old_bps), (new, new_bps) = before, now
    ratios = np.concatenate((new.head / old.head, new.tail / old.tail, [new_bps / old_bps]))
    gaps_s = abs(new.head_gap_s - old.head_gap_s), abs(new.tail_gap_s - old.tail_gap_s)
    return (
        bool(np.max(np.abs(np.log(ratios))) > math.log(_OTHER_TIME))
        or max(gaps_s) > _OTHER_GAP_S
        or bool(_other_sizes(old.sizes, new.sizes))
        or _is_other_pace(old.frames_hz, new.frames_hz)
    )


def _is_other_pace(old_hz: float | None, new_hz: float | None) -> bool:
    if old_hz is None or new_hz is None:
        return old_hz is not new_hz
    return abs(math.log(new_hz / old_hz)) > math.log(_OTHER_PACE)


def _other_sizes(old: Sizes, new: Sizes) -> list[tuple[tuple[int, str], float, float]]:
    """Where payloads are of another size, by more than one report may be off: place, from, to."""
    found = []
    for place in old.keys() | new.keys():
        before, now = old.get(place, _AS_PROFILED), new.get(place, _AS_PROFILED)
        least = max(math.log(_OTHER_TIME), before.noise, now.noise)
        if abs(math.log(now.factor / before.factor)) > least:
            found.append((place, before.factor, now.factor))
    return sorted(found)


def difference_text(then: Basis, factors: Factors, rate_bps: float) -> str:
    """Say what is not as it was when the plan in force was new.

    Args:
        then: what was believed then.
        factors: as measured now.
        rate_bps: likewise [bit/s].
    """
    said = []
    if abs(math.log(rate_bps / then.link_bps)) > math.log(_OTHER_TIME):
        said.append(f"link rate {then.link_bps / 1e6:.1f} -> {rate_bps / 1e6:.1f} Mbit/s")
    for name, new, old in (
        ("head", factors.head, then.factors.head),
        ("tail", factors.tail, then.factors.tail),
    ):
        worst = int(np.argmax(np.abs(np.log(new / old))))
        if abs(math.log(new[worst] / old[worst])) > math.log(_OTHER_TIME):
            said.append(f"{name} time {old[worst]:.2f} -> {new[worst]:.2f} of the model's")
    for (cut, family), was, now in _other_sizes(then.factors.sizes, factors.sizes):
        said.append(f"{family} at cut {cut} takes {was:.2f} -> {now:.2f} of its profiled bytes")
    for name, new_s, old_s in (
        ("robot", factors.head_gap_s, then.factors.head_gap_s),
        ("server", factors.tail_gap_s, then.factors.tail_gap_s),
    ):
        if abs(new_s - old_s) > _OTHER_GAP_S:
            said.append(f"{name} needs {1e3 * new_s:.1f} ms between frames")
    if _is_other_pace(then.factors.frames_hz, factors.frames_hz):
        now_hz = factors.frames_hz
        said.append("frames without a pause" if now_hz is None else f"{now_hz:.1f} frames a second")
    return ", ".join(said) or "what is measured is as it was before"
