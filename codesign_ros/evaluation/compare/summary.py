"""A policy's run in figures: pace, response, bytes, accuracy, plans."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.evaluation.compare.accuracy import Accuracy
from codesign_ros.evaluation.compare.outcome import Outcome, PlanInForce
from codesign_ros.evaluation.compare.run import Compared
from codesign_ros.simulation.pipeline import Finished

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class Summary:
    """A policy's run.

    Attributes:
        policy: its name.
        frames: that came.
        answered: that have an answer of the network.
        finished: frames by who finished them, see ``Finished``.
        duration_s: from the first frame's arrival to the last result [s].
        throughput_fps: answered frames in that time [1/s].
        response_ms: percentiles of arrival to result of answered frames, ``mean`` too [ms].
        late: share of all frames that were lost or took longer than the deadline.
        stages_ms: means over answered frames: waiting for the robot, robot, waiting for the link,
            link both ways, server with waiting [ms].
        payload_bytes: mean of what crossed for an answered frame [bytes].
        payload_p95_bytes: 95 % sent no more [bytes].
        accuracy: mAP@0.5 or share of right answers, of answered frames; None = not known.
        accuracy_in_time: the same of all frames, where one that is late or lost has no answer.
        accuracy_below_best: by how much it is below the best policy's on frames that both
            answered, and the standard error of that; None = not known.
        plans: in force one after the other.
    """

    policy: str
    frames: int
    answered: int
    finished: dict[str, int]
    duration_s: float
    throughput_fps: float
    response_ms: dict[str, float]
    late: float
    stages_ms: dict[str, float]
    payload_bytes: float
    payload_p95_bytes: float
    accuracy: float | None
    accuracy_in_time: float | None
    accuracy_below_best: tuple[float, float] | None
    plans: tuple[PlanInForce, ...]

    @property
    def lost(self) -> float:
        """Share of the frames without an answer."""
        return 1.0 - self.answered / self.frames

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def summaries(
    compared: Compared,
    bundle: Bundle,
    classes: Sequence[str] | None,
    deadline_s: float,
) -> list[Summary]:
    """Sum up all policies, in the order in which they were named.

    Args:
        compared: what came of them.
        bundle: the network.
        classes: those that count; None = all.
        deadline_s: what a response may take [s].

    Raises:
        CodesignError: the truth names a class that the network does not know.
    """
    counted = tuple(bundle.classes if classes is None else classes)
    measure = Accuracy(bundle.task, counted, compared.truths)
    outcomes = list(compared.outcomes.values())
    accuracies = [measure.of(outcome) for outcome in outcomes]
    known = [(value, outcome) for value, outcome in zip(accuracies, outcomes, strict=True)
             if value is not None]  # fmt: skip
    best = max(known, key=lambda pair: pair[0])[1] if known else None
    return [
        _summary(
            outcome,
            accuracy,
            measure.in_time(outcome, deadline_s),
            None if best is None or accuracy is None else measure.below(outcome, best),
            deadline_s,
        )
        for outcome, accuracy in zip(outcomes, accuracies, strict=True)
    ]


def _summary(
    outcome: Outcome,
    accuracy: float | None,
    in_time: float | None,
    below: tuple[float, float] | None,
    deadline_s: float,
) -> Summary:
    passages = outcome.passages
    good = [passage for passage in passages if outcome.is_answered(passage)]
    responses_s = outcome.responses_s()
    taken_s = responses_s[np.isfinite(responses_s)]
    duration_s = float(outcome.published_s()[-1]) - passages[0].arrival_s
    stages_s = {
        "robot_wait": [each.begin_s - each.arrival_s for each in good],
        "robot": [each.head_s for each in good],
        "link_wait": [each.link_wait_s for each in good],
        "link": [each.link_s for each in good],
        "server": [each.tail_s for each in good],
    }
    sent = [each.sent_bytes for each in good]
    late = 1.0 - float(np.mean(responses_s <= deadline_s))
    count = Counter(each.finished for each in passages)
    return Summary(
        policy=outcome.policy,
        frames=len(passages),
        answered=len(good),
        finished={how.value: count[how] for how in Finished},
        duration_s=duration_s,
        throughput_fps=len(good) / duration_s if duration_s > 0 else math.inf,
        response_ms={f"p{p}": 1e3 * float(np.percentile(taken_s, p)) for p in PERCENTILES}
        | {"mean": 1e3 * float(np.mean(taken_s))},
        late=late,
        stages_ms={name: 1e3 * float(np.mean(each_s)) for name, each_s in stages_s.items()},
        payload_bytes=float(np.mean(sent)),
        payload_p95_bytes=float(np.percentile(sent, 95)),
        accuracy=accuracy,
        accuracy_in_time=in_time,
        accuracy_below_best=below,
        plans=outcome.plans,
    )
