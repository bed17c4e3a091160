"""Cloud-edge: the robot only sends the frame; edge server and cloud share the network.

The "cloud-edge computing approach" of the co-design paper's Table VII, "where the end device is
removed, and the model is split between the cloud server and the edge server". As a variation of our
method it takes the cut of the least joint objective (Eq. 11).

Simplified: both parts are folded (S3), for the two halves of a plan are the robot's and the rest,
and the rest has one structure. Both tiers have a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.policies.tiers import best_through_tiers, need_cloud
from codesign_ros.planning.problem import Row


@dataclass(frozen=True)
class CloudEdge:
    """The variation of ours without the robot."""

    name = "cloud_edge"

    def decide(self, situation: Situation) -> Decision:
        """Cut between server and cloud.

        Raises:
            CodesignError: there is no server or no cloud, or no cut's cost is known.
        """
        need_cloud(situation)
        last = situation.problem.tables.segments

        def rule(rows: Sequence[Row]) -> Decision:
            cuts = (
                (row, cloud_cut)
                for row in rows
                if row.candidate.cut == 0
                for cloud_cut in range(1, last)
            )
            return best_through_tiers(
                situation, cuts, lambda decision: decision.row.prediction.objective
            )

        best = kindest(situation, rule)
        return replace(best, note=f"the server runs segments 1 to {best.cloud_cut} of {last}")
