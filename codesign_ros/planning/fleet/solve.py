"""Plans for many robots that share links and servers, found together.

Robot i takes a_i + p_i / b_i + t_i / s_i, where a_i is what does not depend on the others (T1, the
delay both ways and lambda_1 times the loss), p_i the payload's time on the whole link, t_i the
tail's on the whole server, and b_i and s_i the shares that it gets of them.

Where robots are always at work the Karush-Kuhn-Tucker conditions make the best shares of a link
b_i ~ sqrt(p_i), so that the time on it is p_i + sqrt(p_i) sum over the others (sqrt(p_j)). A robot
that has f_j frames a second is in the others' way for the part f_j times that time of its frame
alone, and the sum counts it with that part. With one mean part m for all, which is then

    m = A / (R (1 - U) + A),  R = sum sqrt(p_i),  U = sum f_i p_i,  A = sum f_i p_i sqrt(p_i)

(of n robots that are alike the time is p / (1 - (n - 1) f p), as of a processor that serves all at
once; 1 where U is 1, or where it is not known how many frames a robot has), the objectives of Eq.
11 add up to

    sum a_i + sum over the links (m R^2 + (1 - m) sum p_i) + the same over the servers.

If robots could mix choices this would be a convex problem for given m; ``relaxation`` solves it. At
m = 0 it gives a lower bound where frame rates are known, at m = 1 where they are not. In it only
few robots mix (Shapley and Folkman); these are rounded one after the other, then every robot
changes its choice, server and all, as long as that helps the fleet, with m as it comes of that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.planning.fleet.fit import pack
from codesign_ros.planning.fleet.relaxation import Mix, relax
from codesign_ros.planning.fleet.robots import FleetRobot, Robots
from codesign_ros.planning.fleet.shares import rows_of, shares_of
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError

# All of a link or server, with room for rounding.
_FULL = 1.0 + 1e-9


@dataclass(frozen=True, eq=False)
class FleetPlan:
    """What every robot of a fleet should do, and what it gets of its link and of its server.

    Attributes:
        rows: each robot's choice with its times at its shares (R).
        link_shares: (R,) what part of its link's rate a robot's frame gets; 0 where nothing is
            sent. Without frame rates those of the robots on one link sum to at most 1; with them
            robots are not always in each other's way.
        server_shares: (R,) share of the server that it chose, likewise.
        objective_s: sum of the robots' objectives, L of Eq. 11 [s].
        lower_bound_s: no plan has a lower sum [s]; with frame rates it is what would be if robots
            never met on links and servers.
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
    at least what its frames fill. The search does not know what these floors under the shares cost,
    where a link or a server is nearly full. Ties go to the choice that the reduction to
    non-dominated choices lists first.

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
    always = np.ones(fleet.where.shared)
    # Where it is not known how often robots meet, they always do, and there is no other bound.
    mix = _relaxed(fleet, 0.0 * always if fleet.where.paced else always)
    lower_bound_s = mix.lower_bound
    best = _best(fleet, mix, None, (1.0 + tolerance) * lower_bound_s)
    if fleet.where.paced:
        if best is None or _value(fleet, best) > (1.0 + tolerance) * lower_bound_s:
            best = _best(fleet, _relaxed(fleet, always), best, lower_bound_s)
        if best is not None:
            met = fleet.where.met(fleet.sums(best))
            best = _best(fleet, _relaxed(fleet, met), best, lower_bound_s)
    if best is None:
        # Single moves found none that fits; perhaps several robots must change at once.
        best = _polished(
            fleet, _packed(fleet, _polished(fleet, _rounded(fleet, mix))), fitting=True
        )
    shares = shares_of(fleet, best)
    rows = rows_of(fleet, best, shares)
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
        rows_of(fleet, choices, np.ones((len(robots), fleet.where.shared))),
        rows_of(fleet, choices, shares_of(fleet, choices)) if fit else (),
        _uses(fleet, choices),
    )


def _relaxed(fleet: Robots, met: np.ndarray) -> Mix:
    """Solve the relaxation where robots meet so often (D,), within what links and servers carry.

    Raises:
        CodesignError: they cannot carry the frame rates.
    """
    mix = relax(fleet.answer, fleet.where, met, limited=False)
    uses = mix.weights @ [fleet.uses(choices) for choices in mix.choices]
    if uses.max() <= 1.0:
        return mix
    _check_capacity(fleet)
    limited = relax(fleet.answer, fleet.where, met, limited=True)
    return replace(limited, lower_bound=max(mix.lower_bound, limited.lower_bound))


def _best(fleet: Robots, mix: Mix, best: np.ndarray | None, enough_s: float) -> np.ndarray | None:
    """Round a mix, and take what its parts say without the others; polish each of them.

    Returns:
        The best choices that fit, ``best`` among them; None where there are none.
    """
    for start in (_rounded(fleet, mix), *mix.choices):
        choices = _polished(fleet, start)
        fits = float(fleet.uses(choices).max()) <= _FULL
        if fits and (best is None or _value(fleet, choices) < _value(fleet, best)):
            best = choices
        if best is not None and _value(fleet, best) <= enough_s:
            break
    return best


def _value(fleet: Robots, choices: np.ndarray) -> float:
    return float(fleet.value(fleet.sums(choices)))


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
    prices = np.zeros(fleet.where.size)
    prices[fleet.where.uses][which] = 1.0
    return float(fleet.answer(prices)[1][fleet.where.uses][which].sum())


def _uses(fleet: Robots, choices: np.ndarray) -> dict[str, float]:
    """What part of each link and server the frames fill, by name."""
    names = (
        *(f"link {link.name}" for link in fleet.links),
        *(f"server {v}" for v in fleet.servers),
    )
    return dict(zip(names, fleet.uses(choices).tolist(), strict=True))
