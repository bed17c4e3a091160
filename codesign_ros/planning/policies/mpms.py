"""MPMS: after each layer the robot decides anew whether to stop and send, or to go on.

J. Yan, S. Bi and Y.-J. A. Zhang, "Optimal Model Placement and Online Model Splitting for
Device-Edge Co-Inference", IEEE Transactions on Wireless Communications 21(10), 2022,
arXiv:2105.13618; [12] of the co-design paper. Online splitting is an optimal stopping problem: at
each layer the robot sees the link's present rate and knows the distribution of rates to come. It
stops where stopping costs no more than what going on is expected to cost, which backward induction
tells exactly and a one-stage look-ahead approximates.

Simplified: the cost is time alone, where the paper weighs time and energy. The whole network is
placed on the robot, so the horizon is N and all-on-the-robot its last stop. Rates at different
layers are independent draws from one discrete distribution around the problem's rate, by default
that rate for sure, and the rate seen at each layer is the problem's. The structure is S3 and
tensors go raw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from codesign_ros.cost.link import round_trip_s
from codesign_ros.planning.policies.base import Decision, Situation, latency_s
from codesign_ros.planning.problem import Problem, Row
from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class LinkRates:
    """A discrete distribution of the link's rate.

    Attributes:
        factors: rates, as multiples of the problem's rate.
        probabilities: how probable each is.

    Raises:
        CodesignError: a factor or probability is not above 0, or they do not make a distribution.
    """

    factors: tuple[float, ...] = (1.0,)
    probabilities: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if (
            len(self.factors) != len(self.probabilities)
            or not all(value > 0 for value in (*self.factors, *self.probabilities))
            or not math.isclose(sum(self.probabilities), 1.0)
        ):
            raise CodesignError(
                f"rates {self.factors} of probability {self.probabilities} are no distribution: "
                "all must be above 0 and the probabilities add up to 1"
            )


@dataclass(frozen=True)
class Mpms:
    """The peer that decides while the frame is on its way through the network.

    Attributes:
        rates: what the link's rate may be at layers to come.
        look_ahead: look one stage ahead instead of to the end.
    """

    rates: LinkRates = field(default_factory=LinkRates)
    look_ahead: bool = False

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return "mpms_look_ahead" if self.look_ahead else "mpms"

    def decide(self, situation: Situation) -> Decision:
        """Go through the network and stop where the rule says so.

        Raises:
            CodesignError: there is no server, or no cut's cost is known.
        """
        situation.need_server()
        problem = situation.problem
        stops: dict[int, list[Row]] = {}
        for row in situation.plain:
            if row.candidate.codec == "raw":
                stops.setdefault(row.candidate.cut, []).append(row)
        if not stops:
            raise CodesignError("no cut's cost is known")
        stop_s = np.array(
            [
                [
                    min(_stop_s(problem, row, factor) for row in rows)
                    for factor in self.rates.factors
                ]
                for rows in stops.values()
            ]
        )
        rule = one_stage_look_ahead if self.look_ahead else backward_induction
        go_on_s = rule(stop_s, np.array(self.rates.probabilities))
        now = [min(rows, key=latency_s) for rows in stops.values()]
        # The last stop is always taken: nothing can be expected behind it.
        row = next(r for r, expected in zip(now, go_on_s, strict=True) if latency_s(r) <= expected)
        return Decision(
            row, f"stops after {row.candidate.cut} of {problem.tables.segments} segments"
        )


def backward_induction(stop_s: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Tell what going on is expected to cost at each stop if all later choices are the best.

    V_k(r) = min(Z_k(r), E[V_k+1]), and E[V_k+1] is what is told for stop k.

    Args:
        stop_s: (stops, rates) cost Z of stopping at each stop when the link has each rate.
        probabilities: (rates,) of each rate.

    Returns:
        (stops,) expected cost of going on; infinite at the last stop.
    """
    expected = np.full(len(stop_s), np.inf)
    for stop in range(len(stop_s) - 2, -1, -1):
        expected[stop] = probabilities @ np.minimum(stop_s[stop + 1], expected[stop + 1])
    return expected


def one_stage_look_ahead(stop_s: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Tell what it is expected to cost to go on to the next stop and stop there: E[Z_k+1].

    Arguments and what is returned are as in :func:`backward_induction`.
    """
    return np.append(stop_s[1:] @ probabilities, np.inf)


def _stop_s(problem: Problem, row: Row, factor: float) -> float:
    """Latency of a row when the link has ``factor`` times its rate [s]."""
    prediction = row.prediction
    if not row.candidate.server:
        return prediction.latency_s
    link = problem.links[problem.tables.axes.servers.index(row.candidate.server)]
    faded_s = round_trip_s(
        prediction.payload_bytes,
        link.scaled(factor),
        problem.tables.answer_bytes,
        problem.late_share,
    )
    return prediction.head_s + faded_s + prediction.tail_s
