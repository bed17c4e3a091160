"""Ours with one part taken away at a time: what each part is worth, with its spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Column, Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import right, slim_table
from codesign_ros.evaluation.compare.accuracy import Accuracy
from codesign_ros.evaluation.compare.outcome import Outcome
from codesign_ros.evaluation.compare.parts import PARTS
from codesign_ros.evaluation.compare.run import Compared
from codesign_ros.runtime.planner.policy import OURS

_PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
TITLE = (
    f"Ours without one part at a time, over ours ({_PLUS_MINUS} standard error over parts of the "
    "recording): above 1 the part helps"
)
COLUMNS = ("response", "time a frame", "bytes", "accuracy, points", "late", "plans")

# Consecutive parts of the recording whose differences tell how far an effect may be off.
_BLOCKS = 10


@dataclass(frozen=True)
class Effect:
    """A figure without a part, over ours or less ours, and its standard error."""

    value: float
    error: float

    @property
    def words(self) -> str:
        """As a factor."""
        return f"{self.value:.3f} {_PLUS_MINUS} {self.error:.3f}"


@dataclass(frozen=True)
class Ablation:
    """What is lost, or won, without a part.

    Attributes:
        policy: see ``PARTS``.
        response: response time over that of ours, of frames that both answered; None = none was.
        interval: time between two results, likewise: above 1 where ours has more frames a second.
        sent: bytes of a frame over those of ours; None where ours sends nothing.
        accuracy: of the answers, less that of ours (points of 1); None = not known.
        late: share of frames late or lost, less that of ours.
        is_same: whether it had the plans of ours.
    """

    policy: str
    response: Effect | None
    interval: Effect | None
    sent: float | None
    accuracy: Effect | None
    late: float
    is_same: bool

    @property
    def part(self) -> str:
        """What was taken away."""
        return PARTS[self.policy]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {"part": self.part, **asdict(self)}


def ablations(
    compared: Compared, bundle: Bundle, classes: Sequence[str] | None, deadline_s: float
) -> list[Ablation]:
    """Hold each against ours, frame by frame, in the order in which they were run.

    Args:
        compared: what came of ours and of the others; frames come at the same times for all.
        bundle: the network.
        classes: those that count; None = all.
        deadline_s: what a response may take [s].
    """
    ours = compared.outcomes.get(OURS)
    if ours is None:
        return []
    counted = tuple(bundle.classes if classes is None else classes)
    measure = Accuracy(bundle.task, counted, compared.truths)
    return [
        _ablation(policy, outcome, ours, measure, deadline_s)
        for policy, outcome in compared.outcomes.items()
        if policy in PARTS
    ]


def _ablation(
    policy: str, outcome: Outcome, ours: Outcome, measure: Accuracy, deadline_s: float
) -> Ablation:
    sent, by_ours = (_sent_bytes(each) for each in (outcome, ours))
    accuracy = None
    if measure.of(outcome) is not None and measure.of(ours) is not None:
        below, error = measure.below(outcome, ours)
        accuracy = Effect(0.0 - below, error)  # and no -0.0
    late = [float(np.mean(each.responses_s() > deadline_s)) for each in (outcome, ours)]
    return Ablation(
        policy,
        _ratio(outcome.responses_s(), ours.responses_s()),
        _ratio(_intervals_s(outcome), _intervals_s(ours)),
        sent / by_ours if by_ours > 0 else None,
        accuracy,
        late[0] - late[1],
        [plan.words for plan in outcome.plans] == [plan.words for plan in ours.plans],
    )


def _ratio(values: np.ndarray, of_ours: np.ndarray) -> Effect | None:
    """Ratio of the sums over what both have, and its error by parts of the recording.

    A frame's neighbours share its queue, so that frames say less than their number; long parts
    hardly share anything.
    """
    both = np.isfinite(values) & np.isfinite(of_ours)
    mine, ours = values[both], of_ours[both]
    blocks = min(_BLOCKS, len(mine) // 2)
    if blocks < 1 or ours.sum() <= 0:
        return None
    whole = float(mine.sum() / ours.sum())
    if blocks < 2:
        return Effect(whole, math.inf)
    # The delete-a-block jackknife of a ratio.
    parts = [np.array_split(each, blocks) for each in (mine, ours)]
    sums, of = (np.array([part.sum() for part in each]) for each in parts)
    kept = of.sum() - of
    if (kept <= 0).any():
        return Effect(whole, math.inf)
    left = (sums.sum() - sums) / kept
    return Effect(whole, float(math.sqrt(blocks - 1) * np.std(left)))


def _intervals_s(outcome: Outcome) -> np.ndarray:
    """From one answered frame's result to the next; infinite where a frame was dropped [s]."""
    is_answered = np.isfinite(outcome.responses_s())
    at_s = outcome.published_s()[is_answered]
    intervals_s = np.full(len(is_answered), np.inf)
    intervals_s[np.flatnonzero(is_answered)[1:]] = np.diff(at_s)
    return intervals_s


def _sent_bytes(outcome: Outcome) -> float:
    return float(np.mean([each.sent_bytes for each in outcome.passages]))


def ablation_table(found: Sequence[Ablation]) -> Table:
    """One row a part."""
    table = slim_table(TITLE, Column("without"), *right(*COLUMNS))
    for each in found:
        table.add_row(each.part, *cells(each))
    return table


def cells(each: Ablation) -> tuple[str, ...]:
    """What stands in ``COLUMNS``."""
    points = "-"
    if each.accuracy is not None:
        points = f"{100 * each.accuracy.value:+.2f} {_PLUS_MINUS} {100 * each.accuracy.error:.2f}"
    return (
        *("-" if e is None else e.words for e in (each.response, each.interval)),
        "-" if each.sent is None else f"{each.sent:.2f}",
        points,
        f"{100 * each.late:+.1f} %",
        "as ours" if each.is_same else "other",
    )
