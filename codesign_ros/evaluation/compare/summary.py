"""A policy's run in figures: pace, response, bytes, accuracy, plans."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.evaluation.average_precision import jackknifed_map50
from codesign_ros.evaluation.compare.pipeline import Finished
from codesign_ros.evaluation.compare.robot import Outcome
from codesign_ros.evaluation.compare.run import Compared
from codesign_ros.evaluation.judges import GROUPS
from codesign_ros.evaluation.quality import Quality
from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.answers import Answer
from codesign_ros.types import GroundTruth, Merge

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class PlanInForce:
    """A plan and what made it.

    Attributes:
        since_s: from when on [s].
        link_bps: the rate that it was made for [bit/s].
        words: what it is, in words.
        cut: where it cuts.
    """

    since_s: float
    link_bps: float
    words: str
    cut: int


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
    accuracy_below_best: tuple[float, float] | None
    plans: tuple[PlanInForce, ...]

    @property
    def lost(self) -> float:
        """Share of the frames without an answer."""
        return 1.0 - self.answered / self.frames

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def published_s(outcome: Outcome) -> np.ndarray:
    """When the result of each frame came out, in the order of the frames [s]."""
    return np.maximum.accumulate([passage.done_s for passage in outcome.passages])


def responses_s(outcome: Outcome) -> np.ndarray:
    """Arrival to result of each answered frame [s]."""
    return np.array(
        [
            out_s - passage.arrival_s
            for passage, out_s in zip(outcome.passages, published_s(outcome), strict=True)
            if outcome.is_answered(passage)
        ]
    )


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
    measure = _Accuracy(bundle.task, counted, compared.truths)
    outcomes = list(compared.outcomes.values())
    accuracies = [measure.of(outcome) for outcome in outcomes]
    known = [(value, outcome) for value, outcome in zip(accuracies, outcomes, strict=True)
             if value is not None]  # fmt: skip
    best = max(known, key=lambda pair: pair[0])[1] if known else None
    return [
        _summary(
            outcome,
            accuracy,
            None if best is None or accuracy is None else measure.below(outcome, best),
            bundle.last_cut,
            deadline_s,
        )
        for outcome, accuracy in zip(outcomes, accuracies, strict=True)
    ]


def plan_words(candidate: Candidate, last_cut: int) -> str:
    """What a plan is, in words."""
    structures = [candidate.head_structure.value, candidate.tail_structure.value]
    sent = [candidate.codec]
    if candidate.cut == last_cut:
        where, used, sent = "all on the robot", structures[:1], []
    elif candidate.cut == 0:
        where, used = "all on the server", structures[1:]
    else:
        where, used = f"cut {candidate.cut}", structures
    merge = [] if candidate.merge is Merge.FOLD else [candidate.merge.value]
    words = [where, *sent, candidate.precision, " | ".join(dict.fromkeys(used)), *merge]
    return ", ".join(words)


def _summary(
    outcome: Outcome,
    accuracy: float | None,
    below: tuple[float, float] | None,
    last_cut: int,
    deadline_s: float,
) -> Summary:
    passages = outcome.passages
    good = [passage for passage in passages if outcome.is_answered(passage)]
    taken_s = responses_s(outcome)
    duration_s = float(published_s(outcome)[-1]) - passages[0].arrival_s
    stages_s = {
        "robot_wait": [each.begin_s - each.arrival_s for each in good],
        "robot": [each.head_s for each in good],
        "link_wait": [each.link_wait_s for each in good],
        "link": [each.link_s for each in good],
        "server": [each.tail_s for each in good],
    }
    sent = [each.sent_bytes for each in good]
    late = 1.0 - float(np.sum(taken_s <= deadline_s)) / len(passages)
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
        accuracy_below_best=below,
        plans=tuple(
            PlanInForce(
                each.since_s,
                each.rate_bps,
                plan_words(each.solution.best.candidate, last_cut),
                each.plan.cut,
            )
            for each in outcome.plans
        ),
    )


@dataclass(frozen=True)
class _Accuracy:
    """Holds answers against the truth."""

    task: str
    classes: tuple[str, ...]
    truths: tuple[GroundTruth | None, ...]

    def of(self, outcome: Outcome) -> float | None:
        """Of the frames that were answered and have truth."""
        pairs = tuple((self.truths[n], answer) for n, answer in sorted(outcome.answers.items()))
        quality = Quality(self.task, self.classes, pairs)
        if self.task == "classification":
            return quality.accuracy if any(truth for truth, _ in pairs) else None
        return quality.detection.mean_map50 if quality.detection is not None else None

    def below(self, outcome: Outcome, best: Outcome) -> tuple[float, float]:
        """By how much an outcome is below the best, and the standard error of that.

        On the frames that both answered: a mean of paired differences, or the delete-a-group
        jackknife of ``BoxJudge.difference_error``.
        """
        both = [
            number
            for number in sorted(outcome.answers.keys() & best.answers.keys())
            if self.truths[number] is not None
        ]
        if not both or outcome is best:
            return 0.0, 0.0
        if self.task == "classification":
            right, other = (self._right(each, both) for each in (outcome, best))
            difference = other - right
            return float(difference.mean()), float(difference.std() / math.sqrt(len(both)))
        truths = [truth.boxes for number in both if (truth := self.truths[number]) is not None]
        groups = min(GROUPS, len(both))
        if groups < 2:
            return 0.0, math.inf
        found, other = (
            np.array(
                jackknifed_map50(
                    truths,
                    [each.answers[number].detections for number in both],
                    self.classes,
                    groups,
                )
            )
            for each in (outcome, best)
        )
        error = float(math.sqrt(groups - 1) * np.std(other - found))
        return float(np.mean(other - found)), error

    def _right(self, outcome: Outcome, numbers: Sequence[int]) -> np.ndarray:
        answers: list[Answer] = [outcome.answers[number] for number in numbers]
        labels = [truth.label for number in numbers if (truth := self.truths[number]) is not None]
        return np.array([float(a.label == label) for a, label in zip(answers, labels, strict=True)])
