"""Neurosurgeon: the cut of least latency or least robot energy, from predictions layer by layer.

Y. Kang et al., "Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile Edge",
ASPLOS 2017. A regression predicts the time of each layer on either side from what the layer does;
sums of predictions and the link's rate give latency and energy at every cut, and the best is taken.

Simplified: one linear regression for all segments of a device, over operations and memory traffic,
instead of one for each type of layer over its shape; the server's load is not modelled (the tables
hold its times as they are). Where operations were not counted, segments are taken as profiled. The
structure is S3 throughout: Neurosurgeon knows none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from codesign_ros.planning.policies.base import Decision, Situation, least
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Problem, Row
from codesign_ros.types.errors import CodesignError


class Criterion(Enum):
    """What Neurosurgeon makes small."""

    LATENCY = "latency"
    ENERGY = "energy"


@dataclass(frozen=True)
class Neurosurgeon:
    """The peer that opened the field.

    Attributes:
        criterion: what it makes small.
    """

    criterion: Criterion = Criterion.LATENCY

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "neurosurgeon" if self.criterion is Criterion.LATENCY else "neurosurgeon_energy"

    def decide(self, situation: Situation) -> Decision:
        """Predict every cut and take the best.

        Raises:
            CodesignError: there is no server, no cut's cost is known, or the criterion is energy
                and the robot's power or that of its radio is not known.
        """
        situation.need_server()
        predictors = [
            _predictor(situation, precision)
            for precision in range(len(situation.problem.tables.axes.precisions))
        ]
        criterion: Callable[[Row], float]

        def stages_s(row: Row) -> tuple[float, float, float]:
            precisions = situation.problem.tables.axes.precisions
            return predictors[precisions.index(row.candidate.precision)][0](row)

        def latency_s(row: Row) -> float:
            return sum(stages_s(row))

        criterion = latency_s
        if self.criterion is Criterion.ENERGY:
            robot_w, radio_w = _powers(situation.problem)

            def energy_j(row: Row) -> float:
                head_s, *_ = stages_s(row)
                sending_s = row.prediction.occupancy_s
                return robot_w * head_s + radio_w.get(row.candidate.server, 0.0) * sending_s

            criterion = energy_j
        note = predictors[0][1]
        return kindest(
            situation,
            lambda rows: Decision(least(rows, criterion, "no cut's cost is known"), note),
        )


def _predictor(
    situation: Situation, precision: int
) -> tuple[Callable[[Row], tuple[float, float, float]], str]:
    """Return what tells T1, T3, T2 of a row [s] with the halves predicted by layer, and how."""
    tables = situation.problem.tables
    structure, _ = situation.form()
    head_s = tables.head_s[:, structure, precision]
    tails_s = tables.tail_s[:, :, structure, precision]
    heads, tails = head_s, tails_s
    note = "segment times as profiled: operations not counted"
    if tables.segment_flops is not None and tables.segment_bytes is not None:
        work = np.stack(
            [tables.segment_flops[:, structure], tables.segment_bytes[:, structure]], axis=1
        )
        heads = predict_by_layer(head_s, work)
        note = "segment times by regression over their work"
        # A tail is a head that is counted from the other end.
        tails = np.array([predict_by_layer(tail[::-1], work[::-1])[::-1] for tail in tails_s])

    def stages_s(row: Row) -> tuple[float, float, float]:
        # What is not a layer's, the codec's time, stays as the tables have it.
        cut, here = row.candidate.cut, row.prediction
        robot_s = here.head_s + float(heads[cut] - head_s[cut])
        if not row.candidate.server:
            return robot_s, 0.0, 0.0
        server = tables.axes.servers.index(row.candidate.server)
        return robot_s, here.link_s, here.tail_s + float(tails[server, cut] - tails_s[server, cut])

    return stages_s, note


def _powers(problem: Problem) -> tuple[float, dict[str, float]]:
    """Return what the robot draws, and its radio towards each server [W]."""
    radio_w = {
        server: link.transmit_w
        for server, link in zip(problem.tables.axes.servers, problem.links, strict=True)
        if link.transmit_w is not None
    }
    robot_w = problem.tables.robot_power_w
    if robot_w is None or len(radio_w) < len(problem.links):
        raise CodesignError(
            "it needs the power of the robot (power_w of its device) and of its radio (transmit_w "
            "of the link)"
        )
    return robot_w, radio_w


def predict_by_layer(until_s: np.ndarray, work: np.ndarray) -> np.ndarray:
    """Predict the time of segments 1..cut as a sum of predictions of single segments.

    The time of a segment is taken as a constant and a share of its work, fitted by least squares to
    the differences between neighbouring known cuts. The first known inner cut stays as it is, for
    it holds what is not a layer's (preparing the frame).

    Args:
        until_s: (N+1,) time of segments 1..cut [s]; NaN = not known. Cut 0 is 0.
        work: (N, F) what each segment does.

    Returns:
        (N+1,) the same predicted; NaN where nothing was known to begin with.
    """
    known = np.flatnonzero(~np.isnan(until_s))
    known = known[known > 0]
    if len(known) < 2:
        return until_s.copy()
    features = np.hstack([np.ones((len(work), 1)), work / np.maximum(work.max(axis=0), 1.0)])
    total = np.vstack([np.zeros((1, features.shape[1])), np.cumsum(features, axis=0)])
    weights, *_ = np.linalg.lstsq(
        np.diff(total[known], axis=0), np.diff(until_s[known]), rcond=None
    )
    layers = np.maximum(features @ weights, 0.0)
    done = np.concatenate([[0.0], np.cumsum(layers)])
    predicted = until_s.copy()
    predicted[known] = until_s[known[0]] + done[known] - done[known[0]]
    return predicted
