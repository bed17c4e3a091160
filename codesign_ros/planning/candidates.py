"""All candidates' costs as arrays (Eq. 8-11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign_ros.cost.lateness import margin_s as margin
from codesign_ros.cost.link import occupancy_s, round_trip_s, saved_by_burst_s
from codesign_ros.cost.tables import NO_CODEC
from codesign_ros.planning.limits import Bound, bounds
from codesign_ros.planning.objective import (
    Objective,
    joint_objective,
    pace_s,
    time_s,
    total_loss,
)
from codesign_ros.planning.problem import Candidate, CandidateCost, Problem, Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec


@dataclass(frozen=True, eq=False)
class Candidates:
    """Costs of all candidates over the axes (cut, head, tail, merge, precision, codec, server).

    The index of each axis is that of ``problem.tables.axes``, the cut's is the cut. Arrays have
    size 1 along axes on which they do not depend. A robot without a server counts as one nameless
    server that can do nothing.

    Attributes:
        problem: what was evaluated.
        head_s, link_s, tail_s: T1, T3, T2 [s]; NaN where not known.
        occupancy_s: how long the payload keeps the uplink [s].
        margin_s: what all frames but the problem's ``late_share`` may take beside [s]; zeros
            without one.
        accuracy_loss: Delta A_total of Eq. 10 and the codec's loss.
        payload_bytes: what crosses [bytes].
        energy_j: what the robot spends on a frame [J]; None where its power is not known, NaN
            where its radio's is not and it sends.
        offered: (full shape) which candidates exist and have a known cost; limits aside.
        objective: (full shape) L of Eq. 11 [s]; infinite where not offered or over a limit.
        bounds: the limits, each with how much every candidate is over it.
    """

    problem: Problem
    head_s: np.ndarray
    link_s: np.ndarray
    occupancy_s: np.ndarray
    tail_s: np.ndarray
    margin_s: np.ndarray
    accuracy_loss: np.ndarray
    payload_bytes: np.ndarray
    energy_j: np.ndarray | None
    offered: np.ndarray
    objective: np.ndarray
    bounds: tuple[Bound, ...]

    @cached_property
    def latency_s(self) -> np.ndarray:
        """T_total of Eq. 8, from a frame to its answer [s]."""
        return self.head_s + self.link_s + self.tail_s + self.margin_s

    @cached_property
    def pace_s(self) -> np.ndarray:
        """Time between two results of a pipeline [s]."""
        stages_s = self.head_s, self.occupancy_s, self.tail_s
        return _pace_s(self.problem, *stages_s, self.latency_s)

    @property
    def time_s(self) -> np.ndarray:
        """T of Eq. 11 for the problem's objective, whatever the limits say [s]."""
        return time_s(self.problem.objective, self.latency_s, self.pace_s)

    def candidate(self, index: Sequence[int] | np.ndarray) -> Candidate:
        """Read an index of the full shape as a choice."""
        cut, head, tail, merge, precision, codec, server = (int(i) for i in index)
        axes = self.problem.tables.axes
        return Candidate(
            cut,
            axes.structures[head],
            axes.structures[tail],
            axes.merges[merge],
            axes.precisions[precision],
            axes.codecs[codec],
            axes.servers[server] if cut < self.problem.tables.segments else "",
        )

    def row(self, index: Sequence[int]) -> Row:
        """Read an index of the full shape as a choice and its prediction.

        The objective is worked out whether or not a limit is kept.
        """

        def at(array: np.ndarray) -> float:
            place = (0 if n == 1 else i for i, n in zip(index, array.shape, strict=True))
            return float(array[tuple(place)])

        loss = at(self.accuracy_loss)
        energy_j = math.nan if self.energy_j is None else at(self.energy_j)
        return Row(
            self.candidate(index),
            CandidateCost(
                at(self.head_s),
                at(self.link_s),
                at(self.occupancy_s),
                at(self.tail_s),
                loss,
                at(self.payload_bytes),
                joint_objective(at(self.time_s), loss, self.problem.lambda_1),
                None if math.isnan(energy_j) else energy_j,
                self.problem.window,
                self.problem.head_gap_s,
                self.problem.tail_gap_s,
                self._loss_error(index),
                at(self.margin_s),
            ),
        )

    def _loss_error(self, index: Sequence[int]) -> float | None:
        """Standard error of a candidate's accuracy loss; None where a part of it is not known."""
        tables = self.problem.tables
        if tables.structure_error is None or tables.codec_error is None:
            return None
        cut, head, tail, merge, precision, codec, _ = index
        of_halves = total_loss(
            float(tables.load_fraction[cut]),
            *(float(tables.structure_error[half, merge, precision]) for half in (head, tail)),
        )
        error = math.hypot(of_halves, float(tables.codec_error[cut, codec, precision, merge]))
        return None if math.isnan(error) else error

    def index_of(self, candidate: Candidate) -> tuple[int, ...]:
        """Return where a choice stands.

        Raises:
            CodesignError: it is not among the choices.
        """
        axes, c = self.problem.tables.axes, candidate
        try:
            server = axes.servers.index(c.server) if c.server else 0
            index = (
                range(self.problem.tables.segments + 1).index(c.cut),
                axes.structures.index(c.head_structure),
                axes.structures.index(c.tail_structure),
                axes.merges.index(c.merge),
                axes.precisions.index(c.precision),
                axes.codecs.index(c.codec),
                server,
            )
        except ValueError as error:
            raise CodesignError(f"{c} is not among the choices: {error}") from None
        return index


def evaluate(problem: Problem) -> Candidates:
    """Work out Eq. 8-11 for every candidate at once."""
    t, axes = problem.tables, problem.tables.axes
    n, s, m = t.segments + 1, len(axes.structures), len(axes.merges)
    p, k = len(axes.precisions), len(axes.codecs)
    # Without a server there is one that is never offered, so that no axis is empty.
    v = max(1, len(axes.servers))
    shape = (n, s, s, m, p, k, v)
    tail, decode = t.tail_s, t.decode_s
    links = problem.links or (LinkSpec(1.0),)
    if not problem.links:
        tail, decode = np.full((1, n, s, p), np.nan), np.full((1, n, k), np.nan)
        tail[:, -1], decode[:, -1] = 0.0, 0.0

    head_s = t.head_s.reshape(n, s, 1, 1, p, 1, 1) + t.encode_s.reshape(n, 1, 1, 1, 1, k, 1)
    tail_s = _by_tail(tail) + decode.transpose(1, 2, 0).reshape(n, 1, 1, 1, 1, k, v)
    if (neck := t.is_neck).any():
        # Encoder and decoder run as part of the halves.
        heads, tails = t.neck_head_s, t.neck_tail_s if problem.links else None
        more_s = np.full((n, s, p), np.nan) if heads is None else heads - t.head_s
        head_s = head_s + np.where(neck[:, None], more_s.reshape(n, s, 1, 1, p, 1, 1), 0.0)
        more_s = np.full(tail.shape, np.nan) if tails is None else tails - tail
        tail_s = tail_s + np.where(neck[:, None], _by_tail(more_s), 0.0)
    payload = t.payload_bytes.reshape(n, 1, 1, 1, 1, k, 1)
    if t.payload_scale is not None:
        payload = payload * t.payload_scale.transpose(0, 2, 1).reshape(n, 1, 1, 1, p, k, 1)
    link_s, busy_s = (
        np.concatenate(parts, axis=-1)
        for parts in (
            [round_trip_s(payload, each, t.answer_bytes, problem.late_share) for each in links],
            [occupancy_s(payload, each) for each in links],
        )
    )
    if problem.objective is Objective.LATENCY and any(each.burst_bytes for each in links):
        # One frame at a time: the link is idle while the halves compute.
        idle_s = head_s + tail_s
        saved_s = [
            saved_by_burst_s(payload, each, idle_s[..., [server]], problem.late_share)
            for server, each in enumerate(links)
        ]
        link_s = link_s - np.concatenate(saved_s, axis=-1)
    link_s[-1] = busy_s[-1] = 0.0

    share = t.load_fraction.reshape(n, 1, 1, 1, 1, 1, 1)
    loss = total_loss(
        share,
        t.structure_loss.reshape(1, s, 1, m, p, 1, 1),
        t.structure_loss.reshape(1, 1, s, m, p, 1, 1),
    ) + t.codec_loss.transpose(0, 3, 2, 1).reshape(n, 1, 1, m, p, k, 1)
    margin_s = np.zeros((1,) * 7)
    if problem.late_share is not None:
        spread = np.zeros((n, k)) if t.payload_spread is None else np.nan_to_num(t.payload_spread)
        varies_by = spread.reshape(n, 1, 1, 1, 1, k, 1)
        late = problem.spreads, problem.late_share
        margin_s = np.concatenate(
            [
                margin(head_s, tail_s[..., [server]], payload, link, *late, varies_by)
                for server, link in enumerate(links)
            ],
            axis=-1,
        )
        # Where all stays on the robot no link can be late.
        margin_s[-1] = margin(head_s[-1], 0.0 * head_s[-1], 0.0 * head_s[-1], links[0], *late)
    latency_s = head_s + link_s + tail_s + margin_s
    own_pace_s = _pace_s(problem, head_s, busy_s, tail_s, latency_s)
    duration_s = time_s(problem.objective, latency_s, own_pace_s)
    # What is not known (NaN) makes the sum unknown, whatever its weight.
    objective = np.broadcast_to(joint_objective(duration_s, loss, problem.lambda_1), shape).copy()

    allowed = np.zeros(n, bool)
    allowed[list(problem.allowed_cuts())] = True
    objective[~allowed] = np.nan
    # An empty half has the other's structure; nothing is encoded or served where all stays.
    ends = ~np.eye(s, dtype=bool)
    objective[0][ends] = np.nan
    objective[-1][ends] = np.nan
    objective[-1][..., 1:] = np.nan
    for part, codecs in (
        (slice(0, 1), problem.frame_codecs),
        (slice(1, -1), problem.codecs),
        (slice(-1, None), (NO_CODEC,)),
    ):
        if codecs is not None:
            objective[part][..., [codec not in codecs for codec in axes.codecs], :] = np.nan

    if (halves := problem.halves) is not None:
        chosen = _both(halves.head, halves.tail, problem)
        if t.is_neck.any() and halves.neck_head is not None and halves.neck_tail is not None:
            with_neck = _both(halves.neck_head, halves.neck_tail, problem)
            chosen = np.where(t.is_neck[:, None], with_neck, chosen)
        objective[~np.broadcast_to(chosen, shape)] = np.nan

    energy = None
    if t.robot_power_w is not None:
        radio_w = [np.nan if link.transmit_w is None else link.transmit_w for link in links]
        # A radio sends while a payload keeps it, not while the payload travels.
        radio_j = np.array(radio_w) * busy_s
        radio_j[-1] = 0.0
        energy = t.robot_power_w * head_s + radio_j
    found = bounds(problem, latency_s, own_pace_s, loss, payload, energy)
    offered = ~np.isnan(objective)
    objective[~offered] = np.inf
    for bound in found:
        objective[np.broadcast_to(bound.excess > 0, shape)] = np.inf
    return Candidates(
        *(problem, head_s, link_s, busy_s, tail_s, margin_s, loss, payload, energy),
        *(offered, objective, found),
    )


def _by_tail(times_s: np.ndarray) -> np.ndarray:
    """Times of tails (V, N+1, S, P) along the axes of ``Candidates``."""
    v, n, s, p = times_s.shape
    return times_s.transpose(1, 2, 3, 0).reshape(n, 1, s, 1, p, 1, v)


def _both(heads: np.ndarray, tails: np.ndarray, problem: Problem) -> np.ndarray:
    """Tell which pairs of halves may be chosen, along the axes of ``Candidates``."""
    n, s, m, p = heads.shape
    if not problem.links:
        tails = np.ones((1, n, s, m, p), bool)
    served = tails.transpose(1, 2, 3, 4, 0).reshape(n, 1, s, m, p, 1, len(tails))
    return heads.reshape(n, s, 1, m, p, 1, 1) & served


def _pace_s(
    problem: Problem,
    head_s: np.ndarray,
    occupancy_s: np.ndarray,
    tail_s: np.ndarray,
    latency_s: np.ndarray,
) -> np.ndarray:
    """Time between two results under a problem's conditions [s]; see ``pace_s``."""
    window, gaps_s = problem.window, (problem.head_gap_s, problem.tail_gap_s)
    return pace_s(head_s, occupancy_s, tail_s, latency_s, window, *gaps_s)
