"""Ablation "w/o roofline strategy" (Table IV): nothing is partitioned, the rest is optimised.

"The base model in its initial partition state, where the entire model is deployed on the edge
server": cut 0. Structure and all that ours can choose beside the cut still follow Eq. 11.
"""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class WithoutRoofline:
    """Ours, whole on the server."""

    name = "wo_roofline"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that sends the frame.

        Raises:
            CodesignError: there is no server, or the cost of sending the frame is not known.
        """
        situation.need_server()
        row = situation.solution.server_only
        if row is None:
            raise CodesignError("the cost of sending the frame is not known")
        return Decision(row)
