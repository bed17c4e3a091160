"""Cloud: the robot's frame goes on from the edge server to the cloud, which runs the whole network.

The "total cloud computing approach" of the co-design paper's Table VII, "where the model is fully
deployed on cloud servers". The network is folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.policies.tiers import best_through_tiers, need_cloud
from codesign_ros.planning.problem import Row


@dataclass(frozen=True)
class Cloud:
    """The baseline of centralised computing."""

    name = "cloud"

    def decide(self, situation: Situation) -> Decision:
        """Send the frame to the cloud.

        Raises:
            CodesignError: there is no server or no cloud, or the way's cost is not known.
        """
        need_cloud(situation)

        def rule(rows: Sequence[Row]) -> Decision:
            frames = ((row, 0) for row in rows if row.candidate.cut == 0)
            return best_through_tiers(situation, frames, lambda decision: decision.latency_s)

        return kindest(situation, rule)
