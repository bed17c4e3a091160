"""The simplest policies and ours, each really run for a while at the start of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from codesign_ros.runtime.messages import Result, Status, known_responses_s
from codesign_ros.types.plan import Plan

# In this order, ours last: it stays.
POLICIES = ("device_only", "server_only_jpeg", "ours")
# Share of all frames that each gets, and the fewest that say something.
SHARE = 0.1
FEWEST_FRAMES = 15
# Frames under a new plan that do not count: those before it are still under way.
_FIRST_FRAMES = 4


@dataclass(frozen=True)
class Trial:
    """What a policy reached.

    Attributes:
        policy: its name.
        plan: its plan; None if it made none.
        frames: frames that count.
        frames_s: results a second [1/s].
        response_s: middle time from stamp to result [s]; None where no frame's is known.
        payload_bytes: mean payload [bytes].
    """

    policy: str
    plan: Plan | None
    frames: int = 0
    frames_s: float = 0.0
    response_s: float | None = None
    payload_bytes: float = 0.0


class Trials:
    """Says which policy is due, and sums up what each reached.

    Args:
        frames: of the whole run; of too few, none is tried, see ``is_tried``.
    """

    def __init__(self, frames: int) -> None:
        self._each = int(frames * SHARE) if frames * SHARE >= FEWEST_FRAMES else 0
        self._starts: list[int] = []

    @property
    def is_tried(self) -> bool:
        """Whether there are frames enough."""
        return self._each > 0

    def due(self, seen: int) -> str | None:
        """The policy to put in force after so many results; None = go on as it is.

        It is taken as put in force.
        """
        number = len(self._starts)
        if not self.is_tried or number == len(POLICIES) or seen < number * self._each:
            return None
        self._starts.append(seen)
        return POLICIES[number]

    def summary(
        self, results: Sequence[tuple[float, Result]], plans: Sequence[Plan]
    ) -> list[Trial]:
        """Sum up.

        Args:
            results: all results in order of arrival, with their times [s].
            plans: all plans.
        """
        ends = [*self._starts[1:], *(start + self._each for start in self._starts[-1:])]
        return [
            _trial(policy, results[start:end], plans)
            for policy, start, end in zip(POLICIES, self._starts, ends, strict=False)
        ]


def _trial(policy: str, results: Sequence[tuple[float, Result]], plans: Sequence[Plan]) -> Trial:
    told = f"policy set to {policy}"
    plan = next((plan for plan in reversed(plans) if told in plan.reason), None)
    if plan is None:
        return Trial(policy, None)
    under = [
        (time_s, result)
        for time_s, result in results
        if result.epoch >= plan.epoch and result.status is Status.OK
    ][_FIRST_FRAMES:]
    if len(under) < 2:
        return Trial(policy, plan)
    answers = [result for _, result in under]
    return Trial(
        policy,
        plan,
        len(under),
        (len(under) - 1) / max(under[-1][0] - under[0][0], 1e-9),
        median(known_s) if (known_s := known_responses_s(answers)) else None,
        sum(answer.payload_bytes for answer in answers) / len(answers),
    )
