"""ADIA: two cuts, so that robot, edge server and cloud each take a part.

G. Liu et al., "An adaptive DNN inference acceleration framework with end-edge-cloud collaborative
computing", Future Generation Computer Systems 140, 2023; [17] of the co-design paper. Learned
models predict the time of each layer on each tier, and a search finds the two cuts of least
latency; a part may be empty.

Simplified: the cost tables take the place of the learned models, and all pairs of cuts are tried,
which finds what any search of theirs can. The structure is S3; what goes on from the server goes
raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.policies.tiers import best_through_tiers, need_cloud
from codesign_ros.planning.problem import Row


@dataclass(frozen=True)
class Adia:
    """The peer with three tiers."""

    name = "adia"

    def decide(self, situation: Situation) -> Decision:
        """Try all pairs of cuts.

        Raises:
            CodesignError: there is no server or no cloud, or no pair's cost is known.
        """
        need_cloud(situation)
        last = situation.problem.tables.segments

        def rule(rows: Sequence[Row]) -> Decision:
            pairs = (
                (row, cloud_cut) for row in rows for cloud_cut in range(row.candidate.cut, last + 1)
            )
            return best_through_tiers(situation, pairs, lambda decision: decision.latency_s)

        best = kindest(situation, rule)
        first = best.row.candidate.cut
        second = last if best.cloud_cut is None else best.cloud_cut
        parts = f"{first} segments on the robot, {second - first} server, {last - second} cloud"
        return replace(best, note=parts)
