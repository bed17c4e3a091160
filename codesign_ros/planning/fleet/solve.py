"""Plans for many robots that share links and servers, found together.

Robot i with share b_i of its link and s_i of its server takes a_i + p_i / b_i + t_i / s_i, where
a_i is what does not depend on the shares (T1, the delay both ways and lambda_1 times the loss), p_i
the payload's time on the whole link and t_i the tail's time on the whole server. For given choices
the Karush-Kuhn-Tucker conditions make the best shares b_i ~ sqrt(p_i) and s_i ~ sqrt(t_i) among
those that share the same one, and the objectives of Eq. 11 add up to

    sum a_i + sum over the links (sum sqrt(p_i))^2 + sum over the servers (sum sqrt(t_i))^2.

If robots could mix choices this would be a convex problem; ``relaxation`` solves it and gives a
lower bound. In it only few robots mix (Shapley and Folkman); these are rounded one after the other,
then every robot changes its choice, server and all, as long as that helps the fleet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.fleet.fit import pack
from codesign_ros.planning.fleet.relaxation import Mix, relax
from codesign_ros.planning.fleet.robots import FleetRobot, Robots
from codesign_ros.planning.problem import CandidateCost, Row
from codesign_ros.types.errors import CodesignError

# All of a link or server, with room for rounding.
_FULL = 1.0 + 1e-9


@dataclass(frozen=True, eq=False)
class FleetPlan:
    """What every robot of a fleet should do, and what it gets of its link and of its server.

    Attributes:
        rows: each robot's choice with its times at its shares (R).
        link_shares: (R,) share of the robot's link; 0 where nothing is sent. Those of the robots on
            one link sum to at most 1.
        server_shares: (R,) share of the server that it chose, likewise.
        objective_s: sum of the robots' objectives, L of Eq. 11 [s].
        lower_bound_s: no plan has a lower sum [s].
        uses: part of each link and server that the robots' frame rates need, up to 1, by name;
            robots without a frame rate count for nothing.
        solve_s: time that the search took [s].
    """

    rows: tuple[Row, ...]
    link_shares: np.ndarray
    server_shares: np.ndarray
    objective_s: float
    lower_bound_s: float
    uses: dict[str, float]
    solve_s: float

    @property
    def gap(self) -> float:
        """How far the objective may at most be above the best one, as a part of the bound."""
        if self.objective_s <= self.lower_bound_s:
            return 0.0
        if self.lower_bound_s <= 0:
            return math.inf
        return self.objective_s / self.lower_bound_s - 1.0


@dataclass(frozen=True, eq=False)
class Alone:
    """What robots would do of which each plans as if there were no others.

    Attributes:
        rows: each robot's best choice with its times if link and server were its own (R).
        sharing: the same choices with the times that come of it when all share, at the best shares
            for them; empty where the robots' frames would fill more than there is.
        uses: part of each link and server that their frame rates would need then, by name.
    """

    rows: tuple[Row, ...]
    sharing: tuple[Row, ...]
    uses: dict[str, float]


def share(robots: Sequence[FleetRobot], tolerance: float = 1e-3) -> FleetPlan:
    """Choose for all robots together, and divide links and servers among them.

    A robot with a frame rate keeps it: its head takes no longer than a frame, and its shares are
    at least what its frames fill. The search does not know what these floors under the shares cost;
    where a link or a server is nearly full they do, and the gap shows it. Ties go to the choice
    that the reduction to non-dominated choices lists first.

    Args:
        robots: the fleet; robots of one class hold the same ``Options``, and all options are of the
            same servers.
        tolerance: relative gap from which on no further start is tried.

    Raises:
        CodesignError: there are no robots, or links, servers or a robot cannot keep the frame
            rates; the text says what is short and by how much.
    """
    started_s = time.perf_counter()
    fleet = Robots(robots)
    mix = relax(fleet.answer, fleet.where, limited=False)
    lower_bound_s = mix.lower_bound
    uses = mix.weights @ [fleet.uses(choices) for choices in mix.choices]
    if uses.max() > 1.0:
        _check_capacity(fleet)
        mix = relax(fleet.answer, fleet.where, limited=True)
        lower_bound_s = max(lower_bound_s, mix.lower_bound)
    best: np.ndarray | None = None
    best_value = math.inf
    # The mix, then what its parts say without the others.
    starts = [_rounded(fleet, mix), *mix.choices]
    nearest, nearest_use = starts[0], math.inf
    for start in starts:
        choices = _polished(fleet, start)
        most_used = float(fleet.uses(choices).max())
        if most_used < nearest_use:
            nearest, nearest_use = choices, most_used
        value = float(fleet.value(fleet.sums(choices)))
        if most_used <= _FULL and value < best_value:
            best, best_value = choices, value
        if best_value <= (1.0 + tolerance) * lower_bound_s:
            break
    if best is None:
        # Single moves found none that fits; perhaps several robots must change at once.
        best = _polished(fleet, _packed(fleet, nearest), fitting=True)
    shares = _shares(fleet, best)
    rows = _rows(fleet, best, shares)
    links = len(fleet.links)
    return FleetPlan(
        rows,
        shares[:, :links].sum(axis=1),
        shares[:, links:].sum(axis=1),
        sum(row.prediction.objective for row in rows),
        lower_bound_s,
        _uses(fleet, best),
        time.perf_counter() - started_s,
    )


def each_alone(robots: Sequence[FleetRobot]) -> Alone:
    """Let every robot choose as if link and servers were its own, and see what sharing makes of it.

    Raises:
        CodesignError: as ``share`` for a robot that is too slow.
    """
    fleet = Robots(robots)
    choices = np.array(
        [int(fleet.value(fleet.parts_of(robot)).argmin()) for robot in range(len(robots))]
    )
    fit = fleet.uses(choices).max() <= _FULL
    return Alone(
        _rows(fleet, choices, np.ones((len(robots), fleet.where.shared))),
        _rows(fleet, choices, _shares(fleet, choices)) if fit else (),
        _uses(fleet, choices),
    )


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


def _packed(fleet: Robots, nearest: np.ndarray) -> np.ndarray:
    """Find choices that links and servers can carry.

    Raises:
        CodesignError: there are none, or none was found; the text has what ``nearest`` would fill.
    """
    packing = pack(fleet, _FULL)
    if packing.choices is not None:
        return packing.choices
    full = ", ".join(f"{name} to {100 * use:.4g} %" for name, use in _uses(fleet, nearest).items())
    how_sure = (
        "links and servers cannot carry these frame rates, whatever each robot chooses"
        if packing.exhausted
        else "no plan was found that links and servers can carry at these frame rates, though not "
        "all were tried"
    )
    raise CodesignError(
        f"{how_sure}; the nearest one fills {full}; fewer robots, fewer frames a second, or more "
        "of what is full"
    )


def _polished(fleet: Robots, choices: np.ndarray, fitting: bool = False) -> np.ndarray:
    """Let one robot after the other change its choice, until no change helps the fleet.

    With ``fitting`` no change is made that links and servers could not carry.
    """
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
            if fitting:
                over = trials[:, fleet.where.uses].max(axis=1) > _FULL
                over[choices[robot]] = False
                values[over] = np.inf
            pick = int(values.argmin())
            now = float(values[choices[robot]])
            if now - values[pick] > 1e-12 * abs(now):
                choices[robot], total, changed = pick, trials[pick], True
                parts[robot] = fleet.parts_of(robot)[pick]
        if not changed:
            return choices


def _check_capacity(fleet: Robots) -> None:
    """Refuse frame rates that some link, or all servers together, cannot serve whatever is chosen.

    Raises:
        CodesignError: they cannot be served.
    """
    links = len(fleet.links)
    for i, link in enumerate(fleet.links):
        need = _least_use(fleet, slice(i, i + 1))
        if need > _FULL:
            need_mbps, rate_mbps = need * link.bandwidth_bps / 1e6, link.bandwidth_bps / 1e6
            raise CodesignError(
                f"the link {link.name} is short: at these frame rates the robots need at least "
                f"{need_mbps:.4g} Mbit/s, {need_mbps - rate_mbps:.4g} Mbit/s more than it has; "
                "fewer robots, fewer frames a second or a faster link"
            )
    need, there = _least_use(fleet, slice(links, None)), len(fleet.servers)
    if need > there * _FULL:
        raise CodesignError(
            f"servers are short ({', '.join(fleet.servers)}): at these frame rates the robots need "
            f"at least {need:.4g} of them, {need - there:.4g} more than there are; fewer robots, "
            "fewer frames a second, or more or faster servers"
        )


def _least_use(fleet: Robots, which: slice) -> float:
    """Sum of the uses of some links and servers when the robots spare these above all."""
    prices = np.zeros(1 + 2 * fleet.where.shared)
    prices[fleet.where.uses][which] = 1.0
    return float(fleet.answer(prices)[1][fleet.where.uses][which].sum())


def _uses(fleet: Robots, choices: np.ndarray) -> dict[str, float]:
    """What part of each link and server the frames fill, by name."""
    names = (
        *(f"link {link.name}" for link in fleet.links),
        *(f"server {v}" for v in fleet.servers),
    )
    return dict(zip(names, fleet.uses(choices).tolist(), strict=True))


def _shares(fleet: Robots, choices: np.ndarray) -> np.ndarray:
    """Divide every link and server at its best: (R, D), 0 where a robot does not need it."""
    work = fleet.works(choices)
    return np.array([best_shares(each, each * fleet.rates_hz) for each in work.T]).T


def _rows(fleet: Robots, choices: np.ndarray, shares: np.ndarray) -> tuple[Row, ...]:
    """Price each robot's choice at its shares (R, D) of links and servers."""
    work = fleet.works(choices)
    shared_s = np.divide(work, shares, where=shares > 0, out=np.zeros_like(work))
    links = len(fleet.links)
    on_link_s, tails_s = shared_s[:, :links].sum(axis=1), shared_s[:, links:].sum(axis=1)
    sending_s = work[:, :links].sum(axis=1)
    rows = []
    for robot, choice, sent_s, radio_s, tail_s in zip(
        *(fleet.robots, choices, on_link_s.tolist(), sending_s.tolist(), tails_s.tolist()),
        strict=True,
    ):
        each, link = robot.options, robot.link
        payload = float(each.payload_bytes[choice])
        loss = float(each.accuracy_loss[choice])
        head_s = robot.slowdown * float(each.head_s[choice])
        link_s = sent_s + (robot.travel_s if payload > 0 else 0.0)
        power_w, energy_j = each.evaluation.problem.tables.robot_power_w, None
        if power_w is not None and (payload == 0 or link.transmit_w is not None):
            # Robots take turns on a link: each sends at the full rate for its share of the time.
            energy_j = power_w * head_s + (link.transmit_w or 0.0) * radio_s
        objective_s = head_s + link_s + tail_s + robot.lambda_1 * loss
        cost = CandidateCost(
            *(head_s, link_s, sent_s, tail_s, loss, payload, objective_s, energy_j)
        )
        rows.append(Row(each.evaluation.candidate(each.places[choice]), cost))
    return tuple(rows)
