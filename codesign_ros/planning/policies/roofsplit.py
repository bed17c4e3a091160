"""RoofSplit: the network cut so that each part fits the roofline of its node.

Y. Huang, H. Zhang, X. Shao, X. Li and H. Ji, "RoofSplit: an edge computing framework with
heterogeneous nodes collaboration considering optimal CNN model splitting", Future Generation
Computer Systems 140, 2023; [11] of the co-design paper, which calls it "a variation of our method
without the dynamic model structure" and "the base model with the S3 structure".

What is modelled: the halves run in parallel, as a pipeline, so the slowest stage counts. Among the
cuts that leave both nodes a part, those come first whose halves both reach their device's ridge
(Eq. 2 and 4, with the peak of the precision that runs), then those of which one does, then the
rest; among equals the one whose slowest stage, predicted by the roofline min(pi, I * beta), is the
fastest.

Simplified: two nodes instead of several; the cache between the nodes is left out. Each precision
has its own ridge, and the cut is decided anew for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codesign_ros.cost.roofline import RooflineMode, compute_s, is_compute_bound
from codesign_ros.planning.policies.base import Decision, Situation, counted, least
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Row
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class RoofSplit:
    """The peer that looks at the roofline alone."""

    name = "roofsplit"

    def decide(self, situation: Situation) -> Decision:
        """Cut by the rooflines.

        Raises:
            CodesignError: there is no server, a device or the operations are not known, a device
                has no peak for the precision, or no inner cut's cost is known.
        """
        situation.need_server()
        robot, server = situation.robot, situation.server
        if robot is None or server is None:
            raise CodesignError("it needs the rooflines of the robot's and the server's device")
        tables = situation.problem.tables
        structure, _ = situation.form()
        all_flops, all_traffic = counted(tables)
        flops, traffic = all_flops[:, structure], all_traffic[:, structure]

        def halves(row: Row) -> list[tuple[float, float, DeviceSpec]]:
            cut = row.candidate.cut
            return [
                (float(flops[part].sum()), float(traffic[part].sum()), device)
                for part, device in ((slice(cut), robot), (slice(cut, None), server))
            ]

        def at_ridge(row: Row) -> int:
            return sum(is_compute_bound(*half, row.candidate.precision) for half in halves(row))

        def slowest_s(row: Row) -> float:
            mode = RooflineMode.ROOFLINE
            stages_s = (compute_s(*half, mode, row.candidate.precision) for half in halves(row))
            return max(row.prediction.occupancy_s, *stages_s)

        first = tables.axes.servers[0]

        def rule(rows: Sequence[Row]) -> Decision:
            inner = [
                row
                for row in rows
                if 0 < row.candidate.cut < tables.segments and row.candidate.server == first
            ]
            most = max(map(at_ridge, inner), default=0)
            fitting = (row for row in inner if at_ridge(row) == most)
            row = least(fitting, slowest_s, "no cut inside the network is known")
            precision = row.candidate.precision
            return Decision(row, f"{most} of 2 halves reach their device's ridge in {precision}")

        return kindest(situation, rule)
