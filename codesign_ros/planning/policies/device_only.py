"""Device-only: the whole network on the robot, folded; nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation, latency_s, least
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Row


@dataclass(frozen=True)
class DeviceOnly:
    """The baseline that needs no server."""

    name = "device_only"

    def decide(self, situation: Situation) -> Decision:
        """Keep all on the robot.

        Raises:
            CodesignError: the whole network's time on the robot is not known.
        """
        last = situation.problem.tables.segments

        def rule(rows: Sequence[Row]) -> Decision:
            own = (row for row in rows if row.candidate.cut == last)
            return Decision(
                least(own, latency_s, "the folded network's time on the robot is not known")
            )

        return kindest(situation, rule)
