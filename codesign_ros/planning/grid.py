"""The exhaustive search (Algorithm 3), over whole arrays."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign_ros.planning.candidates import Candidates, evaluate
from codesign_ros.planning.limits import refusal
from codesign_ros.planning.problem import Problem, Row
from codesign_ros.planning.rate_levels import rate_levels
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from codesign_ros.types.plan import Plan

# Position is simplicity: ties go to the structure with fewer and cheaper branches, to folding and
# to the higher precision.
_STRUCTURES = tuple(Structure)
_MERGES = tuple(Merge)


@dataclass(frozen=True, eq=False)
class Solution:
    """All that was evaluated.

    Attributes:
        evaluation: the candidates and what they cost.
        best: the best of them.
        solve_s: time that evaluating and searching took [s].
    """

    evaluation: Candidates
    best: Row
    solve_s: float

    @property
    def problem(self) -> Problem:
        """What was solved."""
        return self.evaluation.problem

    @cached_property
    def candidates(self) -> int:
        """How many candidates have a known cost and keep the limits."""
        return int(np.isfinite(self.evaluation.objective).sum())

    @property
    def plan(self) -> Plan:
        """The best plan."""
        return self.plan_of(self.best)

    @property
    def device_only(self) -> Row | None:
        """The best candidate that keeps all on the robot (cut N)."""
        return self.best_at(self.problem.tables.segments)

    @property
    def server_only(self) -> Row | None:
        """The best candidate that sends the frame (cut 0); None without a server."""
        return self.best_at(0)

    def best_at(self, cut: int) -> Row | None:
        """Find the best candidate of a cut; None if there is none."""
        return best_of(self.evaluation, cut)

    def best_of_each_cut(self) -> list[Row]:
        """List the best candidate of every cut that has one, best first."""
        rows = [self.best_at(cut) for cut in range(self.problem.tables.segments + 1)]
        known = [row for row in rows if row is not None]
        return sorted(known, key=lambda row: row.prediction.objective)

    def plan_of(self, row: Row) -> Plan:
        """Write a row as a plan. Epoch, robot, model, server and reason are left to the caller."""
        problem, candidate, prediction = self.problem, row.candidate, row.prediction
        servers = problem.tables.axes.servers
        link = None
        if problem.links:
            link = problem.links[servers.index(candidate.server) if candidate.server else 0]
        return Plan(
            cut=candidate.cut,
            head_structure=candidate.head_structure,
            tail_structure=candidate.tail_structure,
            merge=candidate.merge,
            precision=candidate.precision,
            codec=candidate.codec,
            server_available=problem.server_available,
            objective=problem.objective.value,
            lambda_1=problem.lambda_1,
            head_s=prediction.head_s,
            link_s=prediction.link_s,
            tail_s=prediction.tail_s,
            accuracy_loss=prediction.accuracy_loss,
            payload_bytes=prediction.payload_bytes,
            link_bps=link.bandwidth_bps if link else 0.0,
            levels=rate_levels(self.evaluation, row),
        )


def grid(problem: Problem) -> Solution:
    """Try every candidate (Algorithm 3, with all other choices beside cut and structures).

    Candidates of equal objective, or nearly so (``Problem.tie_share``), go by the time of a frame,
    then fewer bytes on the link, then less energy of the robot, then the smaller cut, the simpler
    head and tail structure, folding before pruning, the higher precision, the codec's and the
    server's name.

    Raises:
        CodesignError: no candidate has a known cost, or none keeps the limits; then the text says
            which limit binds and by how much.
    """
    started_s = time.perf_counter()
    evaluation = evaluate(problem)
    best = best_of(evaluation)
    if best is None:
        if not evaluation.offered.any():
            left_out = "".join(f"; {note}" for note in problem.tables.notes)
            raise CodesignError(
                "nothing to choose from: the cost model knows the time, size and accuracy loss of "
                f"none of the allowed cuts, structures, merges and codecs{left_out}"
            )
        raise CodesignError(refusal(evaluation.offered, evaluation.bounds))
    return Solution(evaluation, best, time.perf_counter() - started_s)


def best_of(evaluation: Candidates, cut: int | None = None) -> Row | None:
    """Find the best candidate, of one cut or of all; ties as in ``grid``. None if there is none."""
    part = slice(None) if cut is None else slice(cut, cut + 1)
    objective = evaluation.objective[part]
    least = objective.min()
    if not math.isfinite(least):
        return None
    are_ties = objective == least
    if evaluation.problem.tie_share > 0:
        loss = np.broadcast_to(evaluation.accuracy_loss, evaluation.objective.shape)[part]
        are_near = objective <= least * (1 + evaluation.problem.tie_share)
        are_ties |= are_near & (loss <= loss[are_ties].min())
    ties = np.argwhere(are_ties)
    if cut is not None:
        ties[:, 0] += cut
    for costs in (evaluation.latency_s, evaluation.payload_bytes, evaluation.energy_j):
        if costs is not None:
            of_ties = np.broadcast_to(costs, evaluation.objective.shape)[tuple(ties.T)]
            # Unknown energy is no cheaper than any.
            of_ties = np.nan_to_num(of_ties, nan=np.inf)
            ties = ties[of_ties == of_ties.min()]

    def rank(place: np.ndarray) -> tuple[float | str, ...]:
        c = evaluation.candidate(place)
        return (
            c.cut,
            _STRUCTURES.index(c.head_structure),
            _STRUCTURES.index(c.tail_structure),
            _MERGES.index(c.merge),
            PRECISIONS.index(c.precision),
            c.codec,
            c.server,
        )

    return evaluation.row(min(ties, key=rank).tolist())
