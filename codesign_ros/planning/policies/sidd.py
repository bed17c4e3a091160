"""SIDD: a super-resolution network in front of the detector, both spread over edge devices.

J. Wu et al., "Small insulator defects detection based on multiscale feature interaction transformer
for UAV-assisted power IoMT", IEEE Internet of Things Journal 11(13), 2024; [10] of the co-design
paper. By its abstract the detector is helped by super-resolution, and a distributed deployment lets
this heavy network run on edge devices of little power with low latency (33 to 87 % less).

Modelled as its deployment: the network is cut between robot and server where a frame's latency is
least, or not at all. Simplified: the super-resolution is no part of our networks, so it is more
work, ``load_factor`` times the network's in each half, since it is not known where in it the work
lies. The default is Table IV's for RepVGG on ImageNet: 19.36 frames a second without
super-resolution against SIDD's 13.77. What it wins in accuracy is not modelled: only a measurement
could tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.policies.base import (
    Decision,
    Situation,
    latency_s,
    least,
    reprice,
)
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError


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
        """Cut the heavier network where its latency is least.

        Raises:
            CodesignError: there is no server, or no cut's cost is known.
        """
        situation.need_server()

        def rule(rows: Sequence[Row]) -> Decision:
            heavier = (self._heavier(situation, row) for row in rows)
            row = least(heavier, latency_s, "no cut's cost is known")
            note = (
                f"{self.load_factor:.2f} times the network's work, cut for latency; gain in "
                "accuracy not modelled"
            )
            return Decision(row, note, in_decision_space=False)

        return kindest(situation, rule)

    def _heavier(self, situation: Situation, row: Row) -> Row:
        """Price a row with the more work in both halves; coding and preparing stay."""
        tables, choice, here = situation.problem.tables, row.candidate, row.prediction
        structure, _ = situation.form()
        precision = tables.axes.precisions.index(choice.precision)
        more = self.load_factor - 1.0
        # A measured head's time holds that of preparing the frame, which an empty one shows.
        heads_s = tables.head_s[:, structure, precision]
        head_s = max(0.0, float(heads_s[choice.cut] - np.nan_to_num(heads_s[0])))
        tail_s = 0.0
        if choice.server:
            server = tables.axes.servers.index(choice.server)
            tail_s = float(tables.tail_s[server, choice.cut, structure, precision])
        return reprice(
            situation.problem, row, here.head_s + more * head_s, here.tail_s + more * tail_s
        )
