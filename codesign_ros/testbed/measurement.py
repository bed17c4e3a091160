"""What was reached in a while: frames a second, response times, bytes and processor time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from codesign_ros.runtime.messages import Result, Status, known_responses_s
from codesign_ros.types import Plan


@dataclass(frozen=True)
class Measurement:
    """What the nodes reached under one policy.

    Attributes:
        policy: who chose the plan.
        rate_hz: the camera's rate [Hz]; None = as fast as results came.
        duration_s: how long it was watched [s].
        frames: frames that were answered.
        frames_s: answered frames a second [1/s]; of several rounds the median.
        rounds_s: the same of each round [1/s].
        dropped: frames without an answer of the network, by reason.
        response_ms: ``p50``, ``p95``, ``p99`` of the time from stamp to result [ms].
        stages_ms: medians of head with encoding, link, and decoding with tail [ms].
        predicted_ms: what the last plan says of the same three [ms].
        payload_bytes: mean over the frames [bytes].
        link_bytes: what crossed the link for a frame with all headers, by sending side [bytes].
        cpu_ms: processor time of each side for a frame [ms].
        plan: the last plan, in words.
        plans: plans that were made meanwhile.
        reasons: why, one line each.
    """

    policy: str
    rate_hz: float | None
    duration_s: float
    frames: int
    frames_s: float
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

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def measurement(
    policy: str,
    rate_hz: float | None,
    duration_s: float,
    results: Sequence[tuple[float, Result]],
    plans: Sequence[Plan],
    cpu_s: Mapping[str, float],
    sent_bytes: Mapping[str, float],
) -> Measurement:
    """Sum up what was seen.

    Args:
        policy: who chose the plan.
        rate_hz: the camera's rate [Hz]; None = as fast as results came.
        duration_s: how long it was watched [s].
        results: all results of the while, with their times of arrival.
        plans: the plan in force at its start, and those that came.
        cpu_s: what each side used [s].
        sent_bytes: what each side sent [bytes].
    """
    good = [result for _, result in results if result.status is Status.OK]
    dropped = Counter(r.reason for _, r in results if r.status is not Status.OK)
    frames = max(1, len(good))

    def median_ms(times_s: Sequence[float]) -> float:
        return float(np.median(times_s)) * 1e3 if times_s else float("nan")

    plan = plans[-1]
    responses_ms = [1e3 * each_s for each_s in known_responses_s(good)] or [float("nan")]
    return Measurement(
        policy=policy,
        rate_hz=rate_hz,
        duration_s=duration_s,
        frames=len(good),
        frames_s=len(good) / duration_s,
        rounds_s=(len(good) / duration_s,),
        dropped=dict(dropped),
        response_ms={f"p{p}": float(np.percentile(responses_ms, p)) for p in (50, 95, 99)},
        stages_ms=(
            median_ms([r.head_s + r.encode_s for r in good]),
            median_ms([r.link_s for r in good]),
            median_ms([r.decode_s + r.tail_s for r in good]),
        ),
        predicted_ms=(plan.head_s * 1e3, plan.link_s * 1e3, plan.tail_s * 1e3),
        payload_bytes=float(np.mean([r.payload_bytes for r in good])) if good else 0.0,
        link_bytes={side: sent / frames for side, sent in sent_bytes.items()},
        cpu_ms={side: 1e3 * used_s / frames for side, used_s in cpu_s.items()},
        plan=plan_text(plan),
        plans=len(plans) - 1,
        reasons=tuple(f"{plan_text(each)}: {each.reason}" for each in plans[1:]),
    )


def merged(rounds: Sequence[Measurement]) -> Measurement:
    """Several rounds of one policy at one rate as one: counts add up, of the others the median.

    Rounds of all policies in turn tell a policy from the machine, which is fast now and slow then.
    """
    dropped: Counter[str] = Counter()
    for each in rounds:
        dropped.update(each.dropped)

    def medians(of: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {key: float(np.median([each[key] for each in of])) for key in of[0]}

    stages = np.median([each.stages_ms for each in rounds], axis=0)
    rates = tuple(each.frames_s for each in rounds)
    return replace(
        rounds[-1],
        duration_s=sum(each.duration_s for each in rounds),
        frames=sum(each.frames for each in rounds),
        frames_s=float(np.median(rates)),
        rounds_s=rates,
        dropped=dict(dropped),
        response_ms=medians([each.response_ms for each in rounds]),
        stages_ms=(float(stages[0]), float(stages[1]), float(stages[2])),
        payload_bytes=float(np.median([each.payload_bytes for each in rounds])),
        link_bytes=medians([each.link_bytes for each in rounds]),
        cpu_ms=medians([each.cpu_ms for each in rounds]),
        plans=sum(each.plans for each in rounds),
        reasons=tuple(reason for each in rounds for reason in each.reasons),
    )


def plan_text(plan: Plan) -> str:
    """A plan in a few words."""
    if not plan.served_by:
        return f"robot alone {plan.head_structure.value} {plan.precision}"
    structures = f"{plan.head_structure.value}/{plan.tail_structure.value}"
    return f"cut {plan.cut} {plan.codec} {structures} {plan.precision}"
