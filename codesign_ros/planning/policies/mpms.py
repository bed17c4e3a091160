"""MPMS: after each layer the robot decides anew whether to stop and send, or to go on.

J. Yan, S. Bi and Y.-J. A. Zhang, "Optimal Model Placement and Online Model Splitting for
Device-Edge Co-Inference", IEEE Transactions on Wireless Communications 21(10), 2022,
arXiv:2105.13618; [12] of the co-design paper. Online splitting is an optimal stopping problem: at
each layer the robot sees the link's present rate and knows the distribution of rates to come. It
stops where stopping costs no more than what going on is expected to cost, which backward induction
tells exactly and a one-stage look-ahead approximates.

Simplified: the cost is time alone, where the paper weighs time and energy. The whole network is
placed on the robot, so the horizon is N and all-on-the-robot its last stop. Rates at different
layers are independent draws from one discrete distribution: of the link's states where it has any,
else of Rayleigh fading around its rate. The rate seen at each layer is the problem's. The structure
is S3; precision and codecs are fixed before the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.link import round_trip_s
from codesign_ros.planning.policies.base import Decision, Situation, latency_s
from codesign_ros.planning.policies.fair import kindest
from codesign_ros.planning.problem import Problem, Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec


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

    @classmethod
    def of_link(cls, link: LinkSpec) -> LinkRates:
        """Return the distribution of a link's states, or Rayleigh fading where it has none."""
        if not link.states:
            return RAYLEIGH
        total_s = sum(state.mean_s for state in link.states)
        return cls(
            tuple(state.bandwidth_bps / link.bandwidth_bps for state in link.states),
            tuple(state.mean_s / total_s for state in link.states),
        )

    @classmethod
    def rayleigh(cls, snr: float, levels: int) -> LinkRates:
        """Make equally probable levels of Shannon's rate whose power gain is exponential.

        Args:
            snr: mean ratio of signal to noise, as a plain number.
            levels: how many; each is the median of its share of the distribution.
        """
        gains = -np.log1p(-(np.arange(levels) + 0.5) / levels)
        rates = np.log2(1.0 + snr * gains)
        return cls(tuple((rates / rates.mean()).tolist()), (1.0 / levels,) * levels)

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


RAYLEIGH = LinkRates.rayleigh(snr=10.0, levels=5)
"""Fading of a link of which no states are given: an assumption, 10 dB on average."""


@dataclass(frozen=True)
class Mpms:
    """The peer that decides while the frame is on its way through the network.

    Attributes:
        rates: what the link's rate may be at layers to come; None = as ``LinkRates.of_link`` has it
            for the first server's link.
        look_ahead: look one stage ahead instead of to the end.
    """

    rates: LinkRates | None = None
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
        rates = self.rates or LinkRates.of_link(situation.problem.links[0])
        return kindest(situation, lambda rows: self._stopped(situation.problem, rates, rows))

    def _stopped(self, problem: Problem, rates: LinkRates, rows: Sequence[Row]) -> Decision:
        stops: dict[int, list[Row]] = {}
        for row in rows:
            stops.setdefault(row.candidate.cut, []).append(row)
        if not stops:
            raise CodesignError("no cut's cost is known")
        stop_s = np.array(
            [
                [min(_stop_s(problem, row, factor) for row in some) for factor in rates.factors]
                for some in stops.values()
            ]
        )
        rule = one_stage_look_ahead if self.look_ahead else backward_induction
        go_on_s = rule(stop_s, np.array(rates.probabilities))
        now = [min(some, key=latency_s) for some in stops.values()]
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
