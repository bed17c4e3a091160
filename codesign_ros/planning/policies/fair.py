"""The same engine, precisions and codecs for all.

What a peer's paper does not choose - in which numbers the network runs, how what crosses is packed
- is chosen for it: it decides by its own rule once for each precision and for each codec of frames
and of tensors, and of these decisions the one of least objective (Eq. 11) stands. So a peer has all
that ours has beside its own rule, and is never worse than in fp32 with raw tensors. The one thing
that it has not is a neck: that is trained for a network and a cut, and no peer's paper has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS

Rule = Callable[[Sequence[Row]], Decision]
"""Decides among rows of one precision, one codec for frames and one for tensors, cuts in order."""


def kindest(situation: Situation, rule: Rule) -> Decision:
    """Let a rule decide for each precision and codecs, and take its best decision.

    Of equal objectives the lower latency counts, then the higher precision.

    Raises:
        CodesignError: the folded network is not among the choices, or the rule can decide for no
            precision and codecs; then with its first reason.
    """
    decisions: list[Decision] = []
    reasons: list[CodesignError] = []
    for rows in variants(situation):
        try:
            decisions.append(rule(rows))
        except CodesignError as error:
            reasons.append(error)
    if not decisions:
        raise reasons[0] if reasons else CodesignError("no cut's cost is known")
    return min(decisions, key=lambda each: (each.row.prediction.objective, each.latency_s))


def variants(situation: Situation) -> Iterator[list[Row]]:
    """List the folded network's rows for each precision and codecs, the highest precision first.

    Raises:
        CodesignError: the folded network is not among the choices.
    """
    axes, last = situation.problem.tables.axes, situation.problem.tables.segments
    s, m = situation.form()
    offered = situation.evaluation.offered[:, s, s, m]  # (N+1, P, K, V)
    neck = situation.problem.tables.is_neck[:, None]
    precisions = sorted(axes.precisions, key=PRECISIONS.index)
    for p in map(axes.precisions.index, precisions):
        rows: dict[tuple[int, int], list[Row]] = {}
        for cut, codec, server in np.argwhere(offered[:, p] & ~neck).tolist():
            row = situation.evaluation.row((cut, s, s, m, p, codec, server))
            rows.setdefault((cut, codec), []).append(row)
        frame = [codec for cut, codec in rows if cut == 0] or [-1]
        tensor = sorted({codec for cut, codec in rows if 0 < cut < last}) or [-1]
        robot = [row for (cut, _), some in rows.items() if cut == last for row in some]
        for first in frame:
            for inner in tensor:
                between = (rows.get((cut, inner), []) for cut in range(1, last))
                yield [*rows.get((0, first), []), *(row for some in between for row in some),
                       *robot]  # fmt: skip
