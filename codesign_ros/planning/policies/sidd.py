"""SIDD: a super-resolution network in front of the detector, for small objects.

J. Wu et al., "Small insulator defects detection based on multiscale feature interaction transformer
for UAV-assisted power IoMT", IEEE Internet of Things Journal 11(13), 2024; [10] of the co-design
paper, which says that its super-resolution "enhances feature perception" and "significantly impacts
its throughput". It has a distributed deployment of its own, of which we know no more than that.

Simplified: the super-resolution is no part of our networks, so it is modelled as more work,
``load_factor`` times the network's, all of it on the server, as the co-design paper runs what has
no rule to partition by. The default is Table IV's for RepVGG on ImageNet: 19.36 frames a second
with the whole network on the server against SIDD's 13.77. What it wins in accuracy is not modelled:
only a measurement could tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation, fastest_served, reprice
from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class Sidd:
    """The peer that spends time for accuracy.

    Attributes:
        load_factor: work with super-resolution over work without; 1 or more.

    Raises:
        CodesignError: the factor is below 1.
    """

    load_factor: float = 19.36 / 13.77

    name = "sidd"

    def __post_init__(self) -> None:
        if not self.load_factor >= 1:
            raise CodesignError(f"SIDD's load factor must be 1 or more, not {self.load_factor:g}")

    def decide(self, situation: Situation) -> Decision:
        """Send the frame to a server that has more to do.

        Raises:
            CodesignError: there is no server, or the cost of sending the frame is not known.
        """
        situation.need_server()
        row = fastest_served(situation.plain)
        tables = situation.problem.tables
        structure, _, precision = situation.form()
        server = tables.axes.servers.index(row.candidate.server)
        more_s = (self.load_factor - 1.0) * float(tables.tail_s[server, 0, structure, precision])
        dearer = reprice(
            situation.problem, row, row.prediction.head_s, row.prediction.tail_s + more_s
        )
        return Decision(
            dearer,
            f"{self.load_factor:.2f} times the server's work; gain in accuracy not modelled",
            in_decision_space=False,
        )
