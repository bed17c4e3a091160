"""Searching the best plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codesign_ros.planning.problem import Candidate, Prediction, Problem
from codesign_ros.types import PRECISIONS, CodesignError, Merge, Plan, Structure

# Position is simplicity: ties go to the structure with fewer and cheaper branches, and to folding.
_STRUCTURE_ORDER = {structure: i for i, structure in enumerate(Structure)}
_MERGE_ORDER = {merge: i for i, merge in enumerate(Merge)}


@dataclass(frozen=True)
class Row:
    """A candidate with what it is predicted to cost."""

    candidate: Candidate
    prediction: Prediction


@dataclass(frozen=True)
class Solution:
    """All that was evaluated, best first.

    Attributes:
        problem: what was solved.
        rows: every candidate whose cost is known, best first; never empty.
    """

    problem: Problem
    rows: tuple[Row, ...]

    @property
    def plan(self) -> Plan:
        """The best plan."""
        return self.plan_of(self.rows[0])

    def best_where(self, predicate: Callable[[Candidate], bool]) -> Row | None:
        """Find the best candidate for which ``predicate`` holds; None if there is none."""
        return next((row for row in self.rows if predicate(row.candidate)), None)

    @property
    def device_only(self) -> Row | None:
        """The best candidate that keeps all on the robot (cut N)."""
        last = self.problem.cost.segments
        return self.best_where(lambda candidate: candidate.cut == last)

    @property
    def server_only(self) -> Row | None:
        """The best candidate that sends the frame (cut 0); None without a server."""
        return self.best_where(lambda candidate: candidate.cut == 0)

    def plan_of(self, row: Row) -> Plan:
        """Write a row as a plan. Epoch, robot, model, server and reason are left to the caller."""
        candidate, prediction, problem = row.candidate, row.prediction, self.problem
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
            link_bps=problem.link.bandwidth_bps if problem.link else 0.0,
        )


def grid(problem: Problem) -> Solution:
    """Try every candidate (Algorithm 3, with codec and merge among the choices).

    Candidates of equal objective go by fewer bytes on the link, then the smaller cut, the simpler
    head and tail structure, folding before pruning, the higher precision, and the codec's name.

    Raises:
        CodesignError: no candidate has a known cost.
    """
    rows = [Row(candidate, prediction) for candidate, prediction in problem.evaluate()]
    if not rows:
        raise CodesignError(
            "nothing to choose from: the cost model knows the time, size and accuracy loss of none "
            "of the allowed cuts, structures, merges and codecs"
        )
    return Solution(problem, tuple(sorted(rows, key=_order)))


def _order(row: Row) -> tuple[float, float, int, int, int, int, int, str]:
    candidate, prediction = row.candidate, row.prediction
    return (
        prediction.objective,
        prediction.payload_bytes,
        candidate.cut,
        _STRUCTURE_ORDER[candidate.head_structure],
        _STRUCTURE_ORDER[candidate.tail_structure],
        _MERGE_ORDER[candidate.merge],
        PRECISIONS.index(candidate.precision),
        candidate.codec,
    )
