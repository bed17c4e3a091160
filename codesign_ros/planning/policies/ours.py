"""Ours: the joint optimisation of Eq. 11 by exhaustive search (Algorithm 3), under the limits."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.planning.grid import grid
from codesign_ros.planning.policies.base import Decision, Situation


@dataclass(frozen=True)
class Ours:
    """The co-design paper's method, with merge, precision, codec and server among the choices."""

    name = "ours"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that keeps the limits.

        Raises:
            CodesignError: no candidate has a known cost, or none keeps the limits.
        """
        return Decision(grid(situation.problem).best)
