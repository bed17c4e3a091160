"""Which policy to use, and why: a rule that the reports state, and its reasons in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codesign_ros.console import data_size, ms, points, short
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.planning.objective import Objective

# A policy that has so many more of the frames late or lost than the one that has fewest is out, and
# one whose accuracy is below the best by more than this and by more than it can be told apart.
_MORE_LATE, _LESS_ACCURATE, _ERRORS = 0.01, 0.01, 2.0
# Less is no difference that a person would choose by.
_SAME = 0.02
# An accuracy that differs by less is the same; sums of floats do.
_NO_POINT = 1e-6

RULE = (
    "Of the policies that have at most 1 % more of the frames late or lost than the one that has "
    "fewest, and whose accuracy is within a point or two standard errors of the best of these, the "
    "one with {best}; of those within 2 %, the one that sends least."
)


@dataclass(frozen=True)
class Advice:
    """What to use.

    Attributes:
        policy: the policy.
        rule: how it was chosen.
        reasons: why it, a line each.
    """

    policy: str
    rule: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def advise(summaries: Sequence[Summary], objective: Objective, metric: str) -> Advice:
    """Choose a policy.

    Args:
        summaries: of all policies, at least one.
        objective: what counts: the response time that 95 % keep, or frames a second.
        metric: what the accuracy is called.
    """
    cost_of, unit = _criterion(objective)
    least_late = min(each.late for each in summaries)
    served = [each for each in summaries if each.late <= least_late + _MORE_LATE]
    # The best of all may be one that is late too often.
    least_below = min((b[0] for each in served if (b := each.accuracy_below_best)), default=0.0)
    accurate = [each for each in served if _is_accurate(each, least_below)]
    least = min(map(cost_of, accurate))
    chosen = min(
        (each for each in accurate if cost_of(each) <= least * (1 + _SAME)),
        key=lambda each: (each.payload_bytes, cost_of(each)),
    )
    said = [f"{_cost_words(chosen, objective)}{_against_next(chosen, accurate, cost_of)}"]
    if chosen.accuracy is not None:
        said.append(_accuracy_words(chosen, summaries, metric))
    said.append(f"it sends {_sent_words(chosen)}; {_late_words(chosen)}")
    said += _plan_words(chosen)
    out = [each for each in summaries if each not in accurate and cost_of(each) < cost_of(chosen)]
    said += [_why_not(each, served, objective, metric) for each in out]
    return Advice(chosen.policy, RULE.format(best=unit), tuple(said))


def _criterion(objective: Objective) -> tuple[Callable[[Summary], float], str]:
    if objective is Objective.LATENCY:
        return lambda each: each.response_ms["p95"], "the shortest p95 of the response time"
    return lambda each: 1.0 / each.throughput_fps, "the most frames a second"


def _is_accurate(each: Summary, least_below: float) -> bool:
    if each.accuracy_below_best is None:
        return True
    below, error = each.accuracy_below_best
    return below - least_below <= max(_LESS_ACCURATE, _ERRORS * error)


def _cost_words(each: Summary, objective: Objective) -> str:
    response = f"95 % of its answers come within {ms(each.response_ms['p95'] * 1e-3)}"
    pace = f"{short(each.throughput_fps)} frames/s"
    return f"{response}, at {pace}" if objective is Objective.LATENCY else f"{pace}; {response}"


def _late_words(each: Summary) -> str:
    if not each.late:
        return "no frame is late or lost"
    return f"{each.late:.1%} of its frames are late or lost"


def _sent_words(each: Summary) -> str:
    return f"{data_size(each.payload_bytes)} a frame" if each.payload_bytes else "nothing"


def _plan_words(each: Summary) -> list[str]:
    """What it does; its plans may have changed."""
    if not each.plans:
        return []
    count = len(each.plans)
    which = "its plan" if count == 1 else f"the last of its {count} plans"
    return [f"{which}: {each.plans[-1].words}"]


def _against_next(
    chosen: Summary, others: Sequence[Summary], cost_of: Callable[[Summary], float]
) -> str:
    rest = [each for each in others if each is not chosen]
    if not rest:
        return ""
    nearest = min(rest, key=cost_of)
    ratio = cost_of(nearest) / cost_of(chosen)
    if ratio < 1 + _SAME:
        return f"; {nearest.policy} is as fast and sends {_sent_words(nearest)}"
    return f"; the next, {nearest.policy}, takes {ratio:.2f} times as long"


def _accuracy_words(chosen: Summary, summaries: Sequence[Summary], metric: str) -> str:
    assert chosen.accuracy is not None
    text = f"its {metric} is {chosen.accuracy:.3f}"
    if chosen.accuracy_below_best is None:
        return text
    below, error = chosen.accuracy_below_best
    top = max(summaries, key=lambda each: -1.0 if each.accuracy is None else each.accuracy)
    if chosen.accuracy == top.accuracy:
        return f"{text}, the best of all"
    if abs(below) < _NO_POINT:
        return f"{text}, the same as that of {top.policy} on the frames that both answered"
    side = "below" if below > 0 else "above"
    return f"{text}, {points(abs(below))} {_spread(error)} {side} {top.policy} on the same frames"


def _why_not(each: Summary, served: Sequence[Summary], objective: Objective, metric: str) -> str:
    faster = f"{each.policy} would be faster ({_cost_words(each, objective)})"
    if each not in served:
        return f"{faster}, but {_late_words(each)}"
    assert each.accuracy_below_best is not None
    below, error = each.accuracy_below_best
    return f"{faster}, but its {metric} is {points(below)} {_spread(error)} lower"


def _spread(error: float) -> str:
    return f"(\N{PLUS-MINUS SIGN} {points(error)})" if math.isfinite(error) else "(of one frame)"
