"""The co-design problem: what can be chosen, under which conditions, and what a choice costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

from codesign_ros.cost.link import transfer_s
from codesign_ros.planning.objective import Objective, joint_objective, time_s
from codesign_ros.types import CodesignError, LinkSpec, Merge, Structure

NO_CODEC = "raw"
"""Codec of a plan that keeps all on the robot: nothing is sent, so nothing is encoded."""


@dataclass(frozen=True)
class Candidate:
    """One choice. Where a half is empty (cut 0, cut N), its structure is the other half's."""

    cut: int
    head_structure: Structure
    tail_structure: Structure
    merge: Merge
    precision: str
    codec: str


@dataclass(frozen=True)
class Prediction:
    """What a cost model expects of a candidate.

    Attributes:
        head_s: T1, frame preparation and encoding included where the model knows them [s].
        link_s: T3 [s].
        tail_s: T2, decoding included where the model knows it [s].
        accuracy_loss: Delta A_total, 0 to 1.
        payload_bytes: what crosses the link for one frame [bytes].
        objective: L of Eq. 11 [s].
    """

    head_s: float
    link_s: float
    tail_s: float
    accuracy_loss: float
    payload_bytes: float
    objective: float


class CostModel(Protocol):
    """What the planner asks. None means "not known": candidates that need it are not offered."""

    @property
    def segments(self) -> int:
        """N, the number of segments and the highest cut."""

    def head_s(self, cut: int, structure: Structure, codec: str, precision: str) -> float | None:
        """T1 for segments 1..cut, with encoding where known [s]."""

    def tail_s(self, cut: int, structure: Structure, codec: str, precision: str) -> float | None:
        """T2 for segments cut+1..N, with decoding where known [s]."""

    def payload_bytes(self, cut: int, codec: str) -> float | None:
        """Size of what crosses at ``cut`` < N [bytes]."""

    def accuracy_loss(
        self,
        cut: int,
        head: Structure,
        tail: Structure,
        merge: Merge,
        precision: str,
        codec: str,
    ) -> float | None:
        """Delta A_total (Eq. 10) and the codec's loss, 0 to 1."""


@dataclass(frozen=True)
class Problem:
    """What can be chosen and under which conditions.

    Attributes:
        cost: the cost model.
        link: the uplink; None if its rate is not known. Needed where there is a server.
        server_available: whether a tail can serve. Without one only cut N remains.
        cuts: cuts that may be chosen besides 0 and N, which always may; None for all.
        structures: structures that head and tail may have.
        merges: what may become of branches that do not stay.
        codecs: codecs for cuts 1..N-1.
        frame_codecs: codecs for the frame at cut 0.
        precisions: numeric precisions; both halves have the same.
        objective: which time counts.
        lambda_1: weight of the accuracy loss in Eq. 11 [s per unit of loss].

    Raises:
        CodesignError: ``lambda_1`` is negative or not finite, a cut does not exist, nothing to
            choose from, or there is a server and no link.
    """

    cost: CostModel
    link: LinkSpec | None
    server_available: bool = True
    cuts: tuple[int, ...] | None = None
    structures: tuple[Structure, ...] = tuple(Structure)
    merges: tuple[Merge, ...] = (Merge.FOLD,)
    codecs: tuple[str, ...] = ("raw",)
    frame_codecs: tuple[str, ...] = ("jpeg", "raw")
    precisions: tuple[str, ...] = ("fp32",)
    objective: Objective = Objective.LATENCY
    lambda_1: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lambda_1) and self.lambda_1 >= 0):
            raise CodesignError(f"lambda_1 must be a number from 0 up, not {self.lambda_1}")
        if not (self.structures and self.merges and self.precisions):
            raise CodesignError("at least one structure, merge and precision must be allowed")
        for cut in self.cuts or ():
            if not 0 <= cut <= self.cost.segments:
                raise CodesignError(f"cut {cut} does not exist: cuts are 0 to {self.cost.segments}")
        if self.server_available and not (self.link and self.link.bandwidth_bps > 0):
            raise CodesignError(
                "there is a server but no link rate to plan with; set it or wait until it is "
                "measured"
            )

    def allowed_cuts(self) -> tuple[int, ...]:
        """List the cuts to try, in order: 0 and N always, N alone without a server."""
        last = self.cost.segments
        if not self.server_available:
            return (last,)
        inner = range(1, last) if self.cuts is None else self.cuts
        return tuple(sorted({0, last, *inner}))

    def evaluate(self) -> Iterator[tuple[Candidate, Prediction]]:
        """Go through all candidates whose cost is known, in a fixed order (Algorithm 3)."""
        for cut in self.allowed_cuts():
            for codec, precision in product(self._codecs_at(cut), self.precisions):
                yield from self._evaluate_at(cut, codec, precision)

    def _codecs_at(self, cut: int) -> tuple[str, ...]:
        if cut == self.cost.segments:
            return (NO_CODEC,)
        return self.frame_codecs if cut == 0 else self.codecs

    def _evaluate_at(
        self, cut: int, codec: str, precision: str
    ) -> Iterator[tuple[Candidate, Prediction]]:
        all_on_robot = cut == self.cost.segments
        payload = 0.0 if all_on_robot else self.cost.payload_bytes(cut, codec)
        if payload is None:
            return
        link_s = 0.0
        if not all_on_robot:
            assert self.link is not None  # checked at construction
            link_s = transfer_s(payload, self.link)
        head_times = {s: self.cost.head_s(cut, s, codec, precision) for s in self.structures}
        tail_times = {
            s: 0.0 if all_on_robot else self.cost.tail_s(cut, s, codec, precision)
            for s in self.structures
        }
        for head, tail in self._structure_pairs(cut):
            head_s, tail_s = head_times[head], tail_times[tail]
            if head_s is None or tail_s is None:
                continue
            for merge in self.merges:
                loss = self.cost.accuracy_loss(cut, head, tail, merge, precision, codec)
                if loss is None:
                    continue
                duration_s = time_s(self.objective, head_s, link_s, tail_s)
                value = joint_objective(duration_s, loss, self.lambda_1)
                yield (
                    Candidate(cut, head, tail, merge, precision, codec),
                    Prediction(head_s, link_s, tail_s, loss, payload, value),
                )

    def _structure_pairs(self, cut: int) -> list[tuple[Structure, Structure]]:
        if cut in (0, self.cost.segments):
            return [(s, s) for s in self.structures]
        return [(head, tail) for head in self.structures for tail in self.structures]
