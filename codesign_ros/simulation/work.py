"""What one frame asks of robot, link and server under a plan, and when frames come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codesign_ros.planning.problem import CandidateCost
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class Work:
    """What one frame asks for.

    Attributes:
        head_s: T1 on an idle robot [s].
        payload_bytes: what crosses [bytes].
        tail_s: T2 on an idle server [s].
        is_sent: whether the frame leaves the robot.
        answer_bytes: what comes back [bytes].
        on_link_s: time on the link that the robot expects, by which an answer is overdue [s].
    """

    head_s: float
    payload_bytes: float = 0.0
    tail_s: float = 0.0
    is_sent: bool = False
    answer_bytes: float = 0.0
    on_link_s: float = 0.0

    @classmethod
    def of_cost(cls, cost: CandidateCost, is_sent: bool, answer_bytes: float = 0.0) -> Work:
        """Read what a cost model expects of a candidate."""
        return cls(cost.head_s, cost.payload_bytes, cost.tail_s, is_sent, answer_bytes)

    @classmethod
    def of_plan(cls, plan: Plan, answer_bytes: float = 0.0) -> Work:
        """Read what a planner predicts of its plan."""
        return cls(plan.head_s, plan.payload_bytes, plan.tail_s, bool(plan.served_by), answer_bytes)


@dataclass(frozen=True)
class Spread:
    """How far times and sizes vary from frame to frame: standard deviation as share of the mean.

    Each is drawn from a lognormal distribution of that mean.

    Attributes:
        head: of T1.
        tail: of T2.
        payload: of what crosses.
    """

    head: float = 0.0
    tail: float = 0.0
    payload: float = 0.0

    def draw(self, work: Work, rng: np.random.Generator) -> Work:
        """Draw what one frame asks for."""
        return Work(
            work.head_s * _lognormal(self.head, rng),
            work.payload_bytes * _lognormal(self.payload, rng),
            work.tail_s * _lognormal(self.tail, rng),
            work.is_sent,
            work.answer_bytes,
        )


def _lognormal(spread: float, rng: np.random.Generator) -> float:
    if spread == 0.0:
        return 1.0
    sigma2 = math.log1p(spread**2)
    return float(rng.lognormal(-sigma2 / 2, math.sqrt(sigma2)))


STEADY = Spread()
"""Nothing varies."""


@dataclass(frozen=True)
class Recorded:
    """Frames as they were measured: each frame is like one of them, drawn at random.

    It keeps what a mean and a deviation lose, as rare stalls that come in several stages at once.

    Attributes:
        frames: what each asked for; at least one.
    """

    frames: tuple[Work, ...]

    def draw(self, work: Work, rng: np.random.Generator) -> Work:
        """Draw one of the frames, whatever the plan says."""
        return self.frames[int(rng.integers(len(self.frames)))]


class Varies(Protocol):
    """How frames differ."""

    def draw(self, work: Work, rng: np.random.Generator) -> Work:
        """Draw what one frame asks for under a plan by which it asks for ``work`` on average."""


ARRIVALS = ("rate", "exponential")
"""How frames can come: evenly, or at exponentially distributed times as in the paper."""


def gaps_s(arrivals: str, rate_hz: float, rng: np.random.Generator) -> Iterator[float]:
    """Times between frames, the first of them until the first frame [s].

    Args:
        arrivals: one of ``ARRIVALS``.
        rate_hz: their mean rate [Hz].
        rng: gives the phase, or all.

    Raises:
        CodesignError: there is no such kind, or the rate is not above 0.
    """
    if arrivals not in ARRIVALS or not rate_hz > 0:
        raise CodesignError(
            f"frames come by {' or '.join(ARRIVALS)} at a rate above 0, not by {arrivals!r} at "
            f"{rate_hz}"
        )
    if arrivals == "rate":
        yield float(rng.uniform(0, 1 / rate_hz))
    while True:
        yield 1 / rate_hz if arrivals == "rate" else float(rng.exponential(1 / rate_hz))
