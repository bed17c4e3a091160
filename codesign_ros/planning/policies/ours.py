"""Ours: the joint optimisation of Eq. 11 by exhaustive search (Algorithm 3), under the limits.

Beside it stand its parts, each with one more thing to choose, so that a gain can be traced to where
it comes from: the cut alone, with structure and merge, with the codec too; ours adds the precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.cost.tables import NO_CODEC
from codesign_ros.planning.grid import best_of
from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure


@dataclass(frozen=True)
class Choices:
    """What may be chosen, as indices of the axes of ``Candidates``; None = all of an axis."""

    cuts: Sequence[int] | None = None
    structures: Sequence[int] | None = None
    merges: Sequence[int] | None = None
    precisions: Sequence[int] | None = None
    codecs: Sequence[int] | None = None


def best_of_ours(situation: Situation, choices: Choices, kept: np.ndarray | None = None) -> Row:
    """Find the best candidate under the limits among fewer choices.

    Args:
        situation: what to decide upon.
        choices: what may be chosen.
        kept: which candidates may be chosen beside, broadcasting over the axes; None = all.

    Raises:
        CodesignError: none has a known cost and keeps the limits.
    """
    evaluation = situation.own.evaluation
    shape = evaluation.objective.shape
    c = choices
    axes = (c.cuts, c.structures, c.structures, c.merges, c.precisions, c.codecs, None)
    taken = [range(n) if axis is None else axis for axis, n in zip(axes, shape, strict=True)]
    objective = np.full(shape, np.inf)
    place = np.ix_(*taken)
    objective[place] = evaluation.objective[place]
    if kept is not None:
        objective[~np.broadcast_to(kept, shape)] = np.inf
    row = best_of(replace(evaluation, objective=objective))
    if row is None:
        raise CodesignError("no plan with these choices has a known cost and keeps the limits")
    return row


def codecs_at(situation: Situation, names: Sequence[str]) -> list[int]:
    """Return where codecs stand among the choices."""
    return [situation.problem.tables.axes.codecs.index(name) for name in names]


def drawn_structures(situation: Situation, head: Structure, tail: Structure) -> np.ndarray:
    """Tell which candidates have these halves; where one is empty, the other's structure counts.

    Returns:
        (N+1, S, S, 1, 1, 1, 1).
    """
    axes = situation.problem.tables.axes
    h, t = axes.structures.index(head), axes.structures.index(tail)
    n, s = situation.problem.tables.segments + 1, len(axes.structures)
    kept = np.zeros((n, s, s, 1, 1, 1, 1), bool)
    kept[1:-1, h, t] = kept[0, t, t] = kept[-1, h, h] = True
    return kept


@dataclass(frozen=True)
class Ours:
    """The co-design paper's method, with merge, precision, codec and server among the choices.

    Attributes:
        structure: whether structures and merges are chosen; else S3 folded, one function with all.
        codec: whether codecs are chosen; else all goes raw.
        precision: whether the precision is chosen; else fp32, or the highest that is offered.
    """

    structure: bool = True
    codec: bool = True
    precision: bool = True

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        if self.precision:
            return "ours"
        parts = ("_structure" * self.structure, "_codec" * self.codec)
        return f"ours_cut{''.join(parts)}"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that keeps the limits.

        Raises:
            CodesignError: no candidate has a known cost, or none keeps the limits.
        """
        if self == Ours():
            return Decision(situation.own.best)
        structures = merges = codecs = precisions = None
        if not self.structure:
            structure, merge = situation.form()
            structures, merges = (structure,), (merge,)
        if not self.codec:
            codecs = codecs_at(situation, (NO_CODEC,))
        if not self.precision:
            precisions = (situation.first_precision,)
        choices = Choices(None, structures, merges, precisions, codecs)
        return Decision(best_of_ours(situation, choices))
