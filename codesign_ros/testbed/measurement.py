"""What was reached in a while: frames a second, response times, bytes and processor time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from codesign_ros.runtime.messages import Result, Status, known_responses_s
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class Seen:
    """What was seen of one robot in a while.

    Attributes:
        results: all its results.
        plans: the plan in force at the start, and those that came.
    """

    results: Sequence[Result]
    plans: Sequence[Plan]


@dataclass(frozen=True)
class Measurement:
    """What the nodes reached under one policy.

    Attributes:
        policy: who chose the plan.
        rate_hz: each camera's rate [Hz]; None = as fast as results came.
        duration_s: how long it was watched [s].
        frames: frames that were answered.
        frames_s: answered frames a second, of all robots [1/s]; of several rounds the median.
        robots_s: the same of each robot [1/s].
        rounds_s: the same of each round [1/s].
        dropped: frames without an answer of the network, by reason.
        response_ms: ``p50``, ``p95``, ``p99`` of the time from stamp to result [ms].
        stages_ms: medians of head with encoding, link, and decoding with tail [ms].
        predicted_ms: what the first robot's last plan says of the same three [ms].
        payload_bytes: mean over the frames [bytes].
        link_bytes: what crossed the link for a frame with all headers, by sending side [bytes].
        cpu_ms: processor time of each side for a frame [ms].
        accuracy: of the answers against the truth, 0 to 1 (see ``accuracy_of``); None = not known.
        plan: the last plan, in words; of robots that differ, each.
        plans: plans that were made meanwhile.
        reasons: why, one line each.
    """

    policy: str
    rate_hz: float | None
    duration_s: float
    frames: int
    frames_s: float
    robots_s: tuple[float, ...]
    rounds_s: tuple[float, ...]
    dropped: Mapping[str, int]
    response_ms: Mapping[str, float]
    stages_ms: tuple[float, float, float]
    predicted_ms: tuple[float, float, float]
    payload_bytes: float
    link_bytes: Mapping[str, float]
    cpu_ms: Mapping[str, float]
    plan: str
    plans: int
    reasons: tuple[str, ...]
    accuracy: float | None = None

    @property
    def lost(self) -> float:
        """Share of the frames without an answer: dropped, or not answered while it was watched.

        At a fixed rate; a backlog that grows is thus no success.
        """
        sent = float(self.frames + sum(self.dropped.values()))
        if self.rate_hz is not None:
            sent = max(sent, self.rate_hz * len(self.robots_s) * self.duration_s)
        return 1 - self.frames / sent if sent else 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def measurement(
    policy: str,
    rate_hz: float | None,
    duration_s: float,
    robots: Sequence[Seen],
    cpu_s: Mapping[str, float],
    sent_bytes: Mapping[str, float],
    accuracy: float | None = None,
) -> Measurement:
    """Sum up what was seen.

    Args:
        policy: who chose the plans.
        rate_hz: each camera's rate [Hz]; None = as fast as results came.
        duration_s: how long it was watched [s].
        robots: what was seen of each.
        cpu_s: what each side used [s].
        sent_bytes: what each side sent [bytes].
        accuracy: of the answers, 0 to 1; None = not known.
    """
    results = [result for robot in robots for result in robot.results]
    good = [result for result in results if result.status is Status.OK]
    dropped = Counter(r.reason for r in results if r.status is not Status.OK)
    frames = max(1, len(good))

    def median_ms(times_s: Sequence[float]) -> float:
        return float(np.median(times_s)) * 1e3 if times_s else float("nan")

    first = robots[0].plans[-1]
    responses_ms = [1e3 * each_s for each_s in known_responses_s(good)] or [float("nan")]
    new_plans = [plan for robot in robots for plan in robot.plans[1:]]
    return Measurement(
        policy=policy,
        rate_hz=rate_hz,
        duration_s=duration_s,
        frames=len(good),
        frames_s=len(good) / duration_s,
        robots_s=tuple(
            sum(r.status is Status.OK for r in robot.results) / duration_s for robot in robots
        ),
        rounds_s=(len(good) / duration_s,),
        dropped=dict(dropped),
        response_ms={f"p{p}": float(np.percentile(responses_ms, p)) for p in (50, 95, 99)},
        stages_ms=(
            median_ms([r.head_s + r.encode_s for r in good]),
            median_ms([r.link_s for r in good]),
            median_ms([r.decode_s + r.tail_s for r in good]),
        ),
        predicted_ms=(first.head_s * 1e3, first.link_s * 1e3, first.tail_s * 1e3),
        payload_bytes=float(np.mean([r.payload_bytes for r in good])) if good else 0.0,
        link_bytes={side: sent / frames for side, sent in sent_bytes.items()},
        cpu_ms={side: 1e3 * used_s / frames for side, used_s in cpu_s.items()},
        plan=" | ".join(dict.fromkeys(plan_text(robot.plans[-1]) for robot in robots)),
        plans=len(new_plans),
        reasons=tuple(f"{plan_text(each)}: {each.reason}" for each in new_plans),
        accuracy=accuracy,
    )


def merged(rounds: Sequence[Measurement]) -> Measurement:
    """Several rounds of one policy at one rate as one: counts add up, of the others the median.

    Of accuracies it is the mean over the frames. Rounds of all policies in turn tell a policy from
    the machine, which is fast now and slow then.
    """
    dropped: Counter[str] = Counter()
    for each in rounds:
        dropped.update(each.dropped)

    def medians(of: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {key: float(np.median([each[key] for each in of])) for key in of[0]}

    known = [(each.accuracy, each.frames) for each in rounds if each.accuracy is not None]
    accuracies, frames = zip(*known, strict=True) if known else ((), ())
    stages = np.median([each.stages_ms for each in rounds], axis=0)
    rates = tuple(each.frames_s for each in rounds)
    return replace(
        rounds[-1],
        duration_s=sum(each.duration_s for each in rounds),
        frames=sum(each.frames for each in rounds),
        frames_s=float(np.median(rates)),
        robots_s=tuple(np.median([each.robots_s for each in rounds], axis=0).tolist()),
        rounds_s=rates,
        dropped=dict(dropped),
        response_ms=medians([each.response_ms for each in rounds]),
        stages_ms=(float(stages[0]), float(stages[1]), float(stages[2])),
        payload_bytes=float(np.median([each.payload_bytes for each in rounds])),
        link_bytes=medians([each.link_bytes for each in rounds]),
        cpu_ms=medians([each.cpu_ms for each in rounds]),
        plans=sum(each.plans for each in rounds),
        reasons=tuple(reason for each in rounds for reason in each.reasons),
        accuracy=float(np.average(accuracies, weights=frames)) if known else None,
    )


def plan_text(plan: Plan) -> str:
    """A plan in a few words."""
    if not plan.served_by:
        return f"robot alone {plan.head_structure.value} {plan.precision}"
    structures = f"{plan.head_structure.value}/{plan.tail_structure.value}"
    return f"cut {plan.cut} {plan.codec} {structures} {plan.precision}"
