"""SciNet: provisioning, deployment and placement in the cloud decided together.

S. Tuli, G. Casale and N. R. Jennings, "SciNet: Codesign of Resource Management in Cloud Computing
Environments", IEEE Transactions on Computers 72(12), 2023; [16] of the co-design paper. A simulated
twin of the infrastructure tells the quality of service of each decision, and a network learns to
decide as an oracle does that goes by the twin. It does not partition networks, and what does not
partition runs "entirely on the edge server" in the co-design paper's comparison.

Simplified: one robot's network is the only job, so placement is all that is left to decide: which
server takes it. The cost tables are the twin, and the oracle itself decides. With one server there
is nothing to place.
"""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation, fastest_served
from codesign_ros.planning.policies.fair import kindest


@dataclass(frozen=True)
class SciNet:
    """The peer that chooses among servers."""

    name = "scinet"

    def decide(self, situation: Situation) -> Decision:
        """Choose the server.

        Raises:
            CodesignError: there is no server, or the cost of sending the frame is not known.
        """
        situation.need_server()
        servers = len(situation.problem.tables.axes.servers)
        note = f"best of {servers} servers" if servers > 1 else "one server: nothing to place"
        return kindest(situation, lambda rows: Decision(fastest_served(rows), note))
