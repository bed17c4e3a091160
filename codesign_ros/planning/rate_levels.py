"""Rate levels, of a neck or of the frame's JPEG, of which a robot may choose under one plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codesign_ros.planning.candidates import Candidates
from codesign_ros.planning.problem import Row
from codesign_ros.types.codec_names import rate_levels_of
from codesign_ros.types.plan import RateLevel

_ROUNDING = 1e-12


def rate_levels(evaluation: Candidates, row: Row) -> tuple[RateLevel, ...]:
    """List the levels that may take the place of a choice's own, finest first, its own included.

    All keep the limit on accuracy, which is the budget that a coarser one may spend. A finer one
    keeps all other limits too; a coarser one sends less, so it keeps what the choice keeps.

    Returns:
        The levels; none where the choice's codec has none.
    """
    ladder = rate_levels_of(row.candidate.codec)
    if not ladder:
        return ()
    own = ladder.index(row.candidate.codec)
    most = evaluation.problem.limits.accuracy_loss
    found = []
    for codec in evaluation.problem.tables.axes.codecs:
        if codec not in ladder:
            continue
        level = ladder.index(codec)
        index = evaluation.index_of(replace(row.candidate, codec=codec))
        if not evaluation.offered[index]:
            continue
        cost = evaluation.row(index).prediction
        keeps_limits = bool(np.isfinite(evaluation.objective[index]))
        keeps_accuracy = most is None or cost.accuracy_loss <= most + _ROUNDING
        if keeps_limits or (level >= own and keeps_accuracy):
            found.append(RateLevel(level, cost.payload_bytes, cost.accuracy_loss))
    return tuple(sorted(found))
