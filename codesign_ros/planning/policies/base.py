"""What every policy is given and what it answers.

A policy chooses by the criterion of its own paper, and its choice is then priced by the same cost
tables as ours. So under one cost model, without limits, a choice that ours could make too is never
better than ours.

The peers fold the network (S3); precision and codecs are chosen for them (``fair``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.cost.tables import CostTables
from codesign_ros.planning.candidates import Candidates
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.limits import bounds
from codesign_ros.planning.objective import joint_objective, time_s
from codesign_ros.planning.problem import Problem, Row
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from codesign_ros.types.links import LinkSpec


@dataclass(frozen=True, eq=False)
class CloudTier:
    """A third tier behind the server.

    Attributes:
        tail_s: (N+1, S, P) time of segments cut+1..N in the cloud [s]; NaN = not known.
        link: from the server to the cloud.
    """

    tail_s: np.ndarray
    link: LinkSpec

    @classmethod
    def of_device(
        cls, tables: CostTables, device: DeviceSpec, link: LinkSpec, mode: RooflineMode
    ) -> CloudTier:
        """Predict the cloud's times from its device's peaks (Eq. 6).

        Raises:
            CodesignError: the network's operations were not counted.
        """
        flops, traffic = counted(tables)
        axes = tables.axes
        times = np.full((tables.segments + 1, len(axes.structures), len(axes.precisions)), np.nan)
        for cut, structure, precision in np.ndindex(times.shape):
            name = axes.precisions[precision]
            if device.has(name):
                times[cut, structure, precision] = compute_s(
                    flops[cut:, structure].sum(), traffic[cut:, structure].sum(), device, mode, name
                )
        return cls(times, link)


@dataclass(frozen=True, eq=False)
class Situation:
    """What a policy decides upon.

    Attributes:
        problem: costs, links, objective. Its limits bind ours, its parts and its ablations: the
            peers know none.
        robot: the robot's device; None if unknown.
        server: the device of the first server; None if unknown.
        cloud: the third tier; None if there is none.
    """

    problem: Problem
    robot: DeviceSpec | None = None
    server: DeviceSpec | None = None
    cloud: CloudTier | None = None

    def __post_init__(self) -> None:
        if self.cloud is not None and self.cloud.tail_s.shape != self.problem.tables.head_s.shape:
            raise ValueError(
                f"the cloud's times have shape {self.cloud.tail_s.shape}, "
                f"not {self.problem.tables.head_s.shape}"
            )

    @cached_property
    def solution(self) -> Solution:
        """All candidates, as if there were no limits."""
        return grid(self.problem.unlimited)

    @property
    def evaluation(self) -> Candidates:
        """Costs of all candidates, as if there were no limits."""
        return self.solution.evaluation

    @cached_property
    def own(self) -> Solution:
        """All candidates under the limits.

        Raises:
            CodesignError: none has a known cost or keeps the limits.
        """
        return grid(self.problem)

    @property
    def first_precision(self) -> int:
        """Index of fp32 where that is offered, else of the first of ``PRECISIONS`` that is."""
        precisions = self.problem.tables.axes.precisions
        return precisions.index(min(precisions, key=PRECISIONS.index))

    def form(self) -> tuple[int, int]:
        """Return the indices of structure S3 and of folding.

        Raises:
            CodesignError: one is not among the choices.
        """
        axes = self.problem.tables.axes
        if Structure.S3 not in axes.structures or Merge.FOLD not in axes.merges:
            raise CodesignError(
                "it runs the folded network in structure S3, which is not among the choices"
            )
        return axes.structures.index(Structure.S3), axes.merges.index(Merge.FOLD)

    def need_server(self) -> None:
        """Refuse to go on without a server.

        Raises:
            CodesignError: there is none.
        """
        if not self.problem.server_available:
            raise CodesignError("it needs a server, and there is none")


@dataclass(frozen=True)
class Decision:
    """What a policy chose and what that costs.

    Attributes:
        row: the choice. Where a cloud takes part, its tail is the edge server's part alone and its
            objective is that of all tiers.
        note: what led to the choice, or what of the policy could not act, in a few words.
        in_decision_space: ours could have chosen the same at the same price. False where the policy
            changes the network, the robot or the number of tiers.
        cloud_cut: the server runs up to this cut and the cloud the rest; None if it has no part.
        cloud_s: time of the cloud's part [s].
        cloud_link_s: time between server and cloud, there and back [s].
        cloud_occupancy_s: how long the payload keeps that link [s].
    """

    row: Row
    note: str = ""
    in_decision_space: bool = True
    cloud_cut: int | None = None
    cloud_s: float = 0.0
    cloud_link_s: float = 0.0
    cloud_occupancy_s: float = 0.0

    @property
    def latency_s(self) -> float:
        """Time of one frame through all stages, the cloud's included [s]."""
        return self.row.prediction.latency_s + self.cloud_link_s + self.cloud_s

    @property
    def pace_s(self) -> float:
        """Time between two results of a pipeline of all stages, the cloud's included [s]."""
        window = self.row.prediction.window
        round_trip_s = 0.0 if window is None else self.latency_s / window
        return max(self.row.prediction.pace_s, self.cloud_occupancy_s, self.cloud_s, round_trip_s)

    @property
    def throughput_fps(self) -> float:
        """Frames a second of a pipeline of all stages [1/s]."""
        return 1.0 / self.pace_s if self.pace_s > 0 else float("inf")

    def broken_limits(self, situation: Situation) -> tuple[str, ...]:
        """Say which of the problem's limits the decision does not keep, and by how much.

        Memory is that of the tables' halves, also where the policy changes the network.
        """
        here = self.row.prediction
        place = situation.evaluation.index_of(self.row.candidate)
        found = bounds(
            situation.problem,
            self.latency_s,
            self.pace_s,
            here.accuracy_loss,
            here.payload_bytes,
            here.energy_j,
        )
        shape = situation.evaluation.objective.shape
        over = ((bound, float(np.broadcast_to(bound.excess, shape)[place])) for bound in found)
        return tuple(bound.over(excess) for bound, excess in over if excess > 0)


class Policy(Protocol):
    """One way to choose."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    def decide(self, situation: Situation) -> Decision:
        """Choose.

        Raises:
            CodesignError: something that the policy needs is not there or not known.
        """


def least(rows: Iterable[Row], criterion: Callable[[Row], float], none_left: str) -> Row:
    """Pick the row of least criterion, the first of equals.

    Raises:
        CodesignError: there are no rows; ``none_left`` is its text.
    """
    found = min(rows, key=criterion, default=None)
    if found is None:
        raise CodesignError(none_left)
    return found


def latency_s(row: Row) -> float:
    """Latency of a row [s], as a criterion."""
    return row.prediction.latency_s


def fastest_served(rows: Sequence[Row]) -> Row:
    """Pick, among rows that send the frame (cut 0), the codec and server of least latency.

    Raises:
        CodesignError: no row sends the frame.
    """
    sending = (row for row in rows if row.candidate.cut == 0)
    return least(sending, latency_s, "the cost of sending the frame is not known")


def reprice(problem: Problem, row: Row, head_s: float, tail_s: float) -> Row:
    """Price a choice anew whose halves take other times than in the tables (Eq. 11).

    Args:
        problem: gives objective and lambda_1.
        row: the choice.
        head_s: the head's new time [s].
        tail_s: the tail's [s].
    """
    new = replace(row.prediction, head_s=head_s, tail_s=tail_s)
    value = _objective(problem, row, new.latency_s, new.pace_s)
    return replace(row, prediction=replace(new, objective=value))


def all_tiers(problem: Problem, decision: Decision) -> Decision:
    """Give a decision in which a cloud takes part the objective of all tiers (Eq. 11)."""
    row = decision.row
    value = _objective(problem, row, decision.latency_s, decision.pace_s)
    return replace(decision, row=replace(row, prediction=replace(row.prediction, objective=value)))


def _objective(problem: Problem, row: Row, latency_s: float, pace_s: float) -> float:
    duration_s = time_s(problem.objective, latency_s, pace_s)
    return joint_objective(duration_s, row.prediction.accuracy_loss, problem.lambda_1)


def counted(tables: CostTables) -> tuple[np.ndarray, np.ndarray]:
    """Return operations [FLOP] and memory traffic [bytes] of each segment and structure (N, S).

    Raises:
        CodesignError: they were not counted.
    """
    if tables.segment_flops is None or tables.segment_bytes is None:
        raise CodesignError("it needs the operations of every segment, which were not counted here")
    return tables.segment_flops, tables.segment_bytes
