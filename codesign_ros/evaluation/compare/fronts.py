"""Pareto fronts of policies: what an answer costs against how right those are that come in time.

A frame that is late or lost has no answer in time, and so counts against its policy: one that is
right on the few frames that it answers is no better than one that answers all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codesign_ros.evaluation.compare.summary import Summary


@dataclass(frozen=True)
class FrontPoint:
    """A policy's place.

    Attributes:
        policy: its name.
        cost: what an answer costs, in the front's unit.
        in_time: accuracy over all frames, see ``Summary.accuracy_in_time``.
        answered: accuracy over the frames that it answered.
        late: share of its frames that were late or lost.
        beaten_by: one of the front that costs no more and is at least as right; empty = none, it is
            on the front.
        only_by_answers: whether it would be on the front if only answered frames counted.
    """

    policy: str
    cost: float
    in_time: float
    answered: float
    late: float
    beaten_by: str
    only_by_answers: bool

    @property
    def reason(self) -> str:
        """Why it is not on the front though its answers look so."""
        return (
            f"{self.policy} is not on the front: {self.late:.1%} of its frames are late or lost. "
            f"By its answers alone, {self.answered:.3f}, it would be; over all frames it has "
            f"{self.in_time:.3f}, and {self.beaten_by} is better"
        )


@dataclass(frozen=True)
class Front:
    """Policies against one cost.

    Attributes:
        unit: of the cost, in words.
        points: all policies of known accuracy, in the order in which they were named.
    """

    unit: str
    points: tuple[FrontPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def fronts(summaries: Sequence[Summary]) -> dict[str, Front]:
    """The fronts against response and against bytes, by name; none where no accuracy is known."""
    if all(each.accuracy_in_time is None for each in summaries):
        return {}
    return {
        "response": _front(
            "p95 of the response, ms", summaries, lambda each: each.response_ms["p95"]
        ),
        "bytes": _front(
            "kB a frame (nothing sent: at the left)",
            summaries,
            lambda each: each.payload_bytes / 1e3,
        ),
    }


def losses(found: dict[str, Front]) -> list[str]:
    """Of each policy that losses keep from a front, why, a line each."""
    points = [point for front in found.values() for point in front.points]
    reasons = {point.policy: point.reason for point in points if point.only_by_answers}
    return list(reasons.values())


def _front(unit: str, summaries: Sequence[Summary], cost_of: Callable[[Summary], float]) -> Front:
    known = [
        (each, in_time, each.accuracy or 0.0)
        for each in summaries
        if (in_time := each.accuracy_in_time) is not None
    ]
    real = [(cost_of(each), in_time) for each, in_time, _ in known]
    seeming = [(cost_of(each), answered) for each, _, answered in known]
    undominated = [not any(_beats(other, place) for other in real) for place in real]
    points = []
    for (each, in_time, answered), place, shown, is_on in zip(
        known, real, seeming, undominated, strict=True
    ):
        better = [
            (other[1], known[i][0].policy)
            for i, other in enumerate(real)
            if undominated[i] and _beats(other, place)
        ]
        points.append(
            FrontPoint(
                *(each.policy, place[0], in_time, answered, each.late),
                beaten_by=max(better)[1] if better else "",
                only_by_answers=not is_on and not any(_beats(other, shown) for other in seeming),
            )
        )
    return Front(unit, tuple(points))


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether (cost, gain) is as good in both, and better in one."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other
