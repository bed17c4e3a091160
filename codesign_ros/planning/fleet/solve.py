"""Plans for many robots that share one link and one server, found together.

Robot i with share b_i of the link and s_i of the server takes a_i + p_i / b_i + t_i / s_i, where
a_i is what does not depend on the shares (T1, the link's delay and lambda_1 times the loss), p_i
the payload's time on the whole link and t_i the tail's time on the whole server. For given choices
the Karush-Kuhn-Tucker conditions make the best shares b_i ~ sqrt(p_i) and s_i ~ sqrt(t_i), and the
objectives of Eq. 11 add up to

    sum a_i + (sum sqrt(p_i))^2 + (sum sqrt(t_i))^2.

If robots could mix choices this would be a convex problem; ``fleet_relaxation`` solves it and gives
a lower bound. In it only few robots mix (Shapley and Folkman); these are rounded one after the
other, then every robot changes its choice as long as that helps the fleet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.fleet.relaxation import LINK_USE, OWN, SERVER_USE, USES, Mix, relax
from codesign_ros.planning.fleet.robots import FleetRobot, Robots
from codesign_ros.planning.problem import CandidateCost, Row
from codesign_ros.types import CodesignError, LinkSpec

# No single one of them is short, but what spares the one costs the other.
_SHORT = (
    "link and server are short together: at these frame rates the robots would fill the link to "
    "{:.4g} % and the server to {:.4g} %; fewer robots, fewer frames a second, or more of either"
)


@dataclass(frozen=True, eq=False)
class FleetPlan:
    """What every robot of a fleet should do, and what it gets of link and server.

    Attributes:
        robots: the robots (R).
        rows: each robot's choice with its times at its shares.
        link_shares: (R,) share of the link, sums to at most 1; 0 where nothing is sent.
        server_shares: (R,) share of the server, likewise.
        objective_s: sum of the robots' objectives, L of Eq. 11 [s].
        lower_bound_s: no plan has a lower sum [s].
        link_use, server_use: part of each that the robots' frame rates need, up to 1; robots
            without a frame rate count for nothing.
        solve_s: time that the search took [s].
    """

    robots: tuple[FleetRobot, ...]
    rows: tuple[Row, ...]
    link_shares: np.ndarray
    server_shares: np.ndarray
    objective_s: float
    lower_bound_s: float
    link_use: float
    server_use: float
    solve_s: float

    @property
    def gap(self) -> float:
        """How far the objective may at most be above the best one, as a part of the bound."""
        if self.objective_s <= self.lower_bound_s:
            return 0.0
        if self.lower_bound_s <= 0:
            return math.inf
        return self.objective_s / self.lower_bound_s - 1.0

    @property
    def report(self) -> str:
        """What was found, in a sentence."""
        mean_ms = 1e3 * self.objective_s / len(self.rows)
        sending = sum(row.prediction.payload_bytes > 0 for row in self.rows)
        return (
            f"{len(self.rows)} robots, {sending} of them with the server: {mean_ms:.4g} ms each on "
            f"average, within {100 * self.gap:.4f} % of the lower bound"
        )


def share(robots: Sequence[FleetRobot], link: LinkSpec, tolerance: float = 1e-3) -> FleetPlan:
    """Choose for all robots together, and divide link and server among them.

    A robot with a frame rate keeps it: its head takes no longer than a frame, and its shares are
    at least what its frames fill. The search does not know what these floors under the shares cost;
    where link or server are nearly full they do, and the gap shows it. Ties go to the choice that
    the reduction to non-dominated choices lists first.

    Args:
        robots: the fleet; robots of one class hold the same ``Options``.
        link: the shared link.
        tolerance: relative gap from which on no further start is tried.

    Raises:
        CodesignError: there are no robots, or link, server or a robot cannot keep the frame rates;
            the text says what is short and by how much.
    """
    started_s = time.perf_counter()
    if not robots:
        raise CodesignError("a fleet needs at least one robot")
    fleet = Robots(tuple(robots), link)
    mix = relax(fleet.answer, limited=False)
    lower_bound_s = mix.lower_bound
    uses = mix.weights @ [fleet.sums(choices)[USES] for choices in mix.choices]
    if uses.max() > 1.0:
        _check_capacity(fleet, link)
        mix = relax(fleet.answer, limited=True)
        lower_bound_s = max(lower_bound_s, mix.lower_bound)
    best: np.ndarray | None = None
    best_value = math.inf
    # The mix, then what its parts say without the others.
    starts = [_rounded(fleet, mix), *mix.choices]
    for start in starts:
        choices = _polished(fleet, start)
        value = float(fleet.value(fleet.sums(choices)))
        if value < best_value:
            best, best_value = choices, value
        if best_value <= (1.0 + tolerance) * lower_bound_s:
            break
    assert best is not None  # every value is finite
    uses = fleet.sums(best)[USES]
    if uses.max() > 1.0 + 1e-9:
        raise CodesignError(_SHORT.format(*(100.0 * uses)))
    return _plan(fleet, link, best, lower_bound_s, started_s)


def best_shares(work_s: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Divide one resource so that sum(work / share) is least: shares ~ sqrt(work), by floors.

    A robot whose part would be below its floor gets the floor, and the others divide what is left
    (water-filling).

    Args:
        work_s: (R,) time that each needs of the whole resource [s].
        least: (R,) least share of each; sums to at most 1.

    Returns:
        (R,) shares that sum to 1; 0 where there is no work, also if nobody has any.
    """
    roots = np.sqrt(work_s)
    at_floor = roots == 0
    shares = np.zeros_like(roots)
    while True:
        left = max(0.0, 1.0 - float(least[at_floor & (roots > 0)].sum()))
        free = roots[~at_floor]
        shares[~at_floor] = left * free / free.sum() if len(free) else 0.0
        below = ~at_floor & (shares < least)
        if not below.any():
            return shares
        shares[below] = least[below]
        at_floor |= below


def _rounded(fleet: Robots, mix: Mix) -> np.ndarray:
    """Give every robot that mixes one of its choices, while those after it still mix."""
    choices = mix.choices[int(mix.weights.argmax())].copy()
    parts = np.array([fleet.parts(each) for each in mix.choices])
    total = np.tensordot(mix.weights, parts, 1).sum(axis=0)
    for robot in np.flatnonzero((mix.choices != mix.choices[0]).any(axis=0)):
        trials = total - mix.weights @ parts[:, robot] + parts[:, robot]
        pick = int(fleet.value(trials).argmin())
        choices[robot], total = mix.choices[pick, robot], trials[pick]
    return choices


def _polished(fleet: Robots, choices: np.ndarray) -> np.ndarray:
    """Let one robot after the other change its choice, until no change helps the fleet."""
    choices = choices.copy()
    parts = fleet.parts(choices)
    while True:
        # Summed anew in every pass, so that rounding errors do not pile up.
        total = parts.sum(axis=0)
        changed = False
        for robot in range(len(choices)):
            trials = fleet.parts_of(robot)
            trials += total - parts[robot]
            values = fleet.value(trials)
            pick = int(values.argmin())
            now = float(values[choices[robot]])
            if now - values[pick] > 1e-12 * abs(now):
                choices[robot], total, changed = pick, trials[pick], True
                parts[robot] = fleet.parts_of(robot)[pick]
        if not changed:
            return choices


def _check_capacity(fleet: Robots, link: LinkSpec) -> None:
    """Refuse frame rates that no mix of choices can serve.

    For any weight w from 0 to 1, the least of w times the link's use and 1 - w times the server's
    is at most 1 if both can be kept; it is concave in w, so its greatest value is found by
    bisection of the slope.

    Raises:
        CodesignError: they cannot be served.
    """
    link_only, server_only = _least_uses(fleet, 1.0)[0], _least_uses(fleet, 0.0)[1]
    if link_only > 1.0:
        rate_mbps = link.bandwidth_bps / 1e6
        raise CodesignError(
            f"the link is short: at these frame rates the robots need at least "
            f"{link_only * rate_mbps:.4g} Mbit/s, {(link_only - 1.0) * rate_mbps:.4g} Mbit/s more "
            "than it has; fewer robots, fewer frames a second or a faster link"
        )
    if server_only > 1.0:
        raise CodesignError(
            f"the server is short: at these frame rates the robots need at least {server_only:.4g} "
            f"of it, {server_only - 1.0:.4g} more than there is; fewer robots, fewer frames a "
            "second or a faster server"
        )
    lower, upper = 0.0, 1.0
    for _ in range(30):
        weight = 0.5 * (lower + upper)
        uses = _least_uses(fleet, weight)
        if weight * uses[0] + (1.0 - weight) * uses[1] > 1.0 + 1e-9:
            raise CodesignError(_SHORT.format(*(100.0 * uses)))
        lower, upper = (weight, upper) if uses[0] > uses[1] else (lower, weight)


def _least_uses(fleet: Robots, weight: float) -> np.ndarray:
    """Uses of link and server when the robots spare them, the link with this weight: (2,)."""
    prices = np.zeros(5)
    prices[LINK_USE], prices[SERVER_USE] = weight, 1.0 - weight
    return fleet.answer(prices)[1][USES]


def _plan(
    fleet: Robots, link: LinkSpec, choices: np.ndarray, lower_bound_s: float, started_s: float
) -> FleetPlan:
    """Divide link and server for these choices and price them."""
    work = fleet.works(choices)
    shares = [best_shares(work[:, i], work[:, i] * fleet.rates_hz) for i in range(2)]
    shared_s = [np.divide(work[:, i], shares[i], where=shares[i] > 0, out=np.zeros(len(work)))
                for i in range(2)]  # fmt: skip
    rows = []
    for i, robot in enumerate(fleet.robots):
        choice, evaluation = choices[i], robot.options.evaluation
        payload = float(robot.options.payload_bytes[choice])
        loss = float(robot.options.accuracy_loss[choice])
        head_s = robot.slowdown * float(robot.options.head_s[choice])
        link_s = float(shared_s[0][i]) + (link.delay_s if payload > 0 else 0.0)
        tail_s = float(shared_s[1][i])
        power_w = evaluation.problem.tables.robot_power_w
        rows.append(
            Row(
                evaluation.candidate(robot.options.places[choice]),
                CandidateCost(
                    head_s,
                    link_s,
                    tail_s,
                    loss,
                    payload,
                    head_s + link_s + tail_s + robot.lambda_1 * loss,
                    None
                    if power_w is None
                    else power_w * head_s + (link.transmit_w or 0.0) * link_s,
                ),
            )
        )
    uses = fleet.sums(choices)[USES]
    return FleetPlan(
        fleet.robots,
        tuple(rows),
        shares[0],
        shares[1],
        float(fleet.parts(choices)[:, OWN].sum() + shared_s[0].sum() + shared_s[1].sum()),
        lower_bound_s,
        float(uses[0]),
        float(uses[1]),
        time.perf_counter() - started_s,
    )
