"""Robots that share a server or a link: what part of it a robot's plan may reckon with.

The fleet's solver chooses for all robots together and divides what they share; one robot's problem
then has the server and the link at its share of them. Deadlines and the like, which a fleet does
not know, are kept by the robot's own problem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.planning.fleet.options import options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.solve import share
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.problem import Candidate, Problem
from codesign_ros.types.links import LinkSpec


@dataclass(frozen=True)
class Share:
    """What the fleet's plan has for one robot.

    Attributes:
        candidate: its choice.
        link: its share of its link, above 0 to 1.
        server: its share of the server, likewise.
    """

    candidate: Candidate
    link: float
    server: float


def share_of(place: int, problems: Sequence[Problem], link: LinkSpec | None) -> Share:
    """Plan for all robots and return what one of them gets.

    Among equal robots the order decides who does what, so it must be the same for all of them.

    A robot that keeps all to itself gets the share that one more user would, in equal parts with
    those that it would find at work.

    Args:
        place: of the robot among the problems.
        problems: of the robots, over the same servers, each with choices on one of them alone.
        link: the link that all share; None = each has its own.

    Raises:
        CodesignError: a robot has nothing to choose from, or the frame rates cannot be kept.
    """
    plan = share([fleet_robot(i, problem, link) for i, problem in enumerate(problems)])
    rates_hz = [each.frame_rate_hz or each.usual_rate_hz or math.inf for each in problems]
    on_link_s = [row.prediction.occupancy_s for row in plan.rows]
    at_server_s = [row.prediction.tail_s for row in plan.rows]
    return Share(
        plan.rows[place].candidate,
        _own(place, plan.link_shares, on_link_s, rates_hz) if link is not None else 1.0,
        _own(place, plan.server_shares, at_server_s, rates_hz),
    )


def solve_at(problem: Problem, part: Share) -> Solution:
    """Solve a robot's problem at its share, and keep to the fleet's choice where limits allow.

    Raises:
        CodesignError: no candidate keeps the limits.
    """
    tables, necks_s = problem.tables, problem.tables.neck_tail_s
    solution = grid(
        replace(
            problem,
            tables=replace(
                tables,
                tail_s=tables.tail_s / part.server,
                decode_s=tables.decode_s / part.server,
                neck_tail_s=None if necks_s is None else necks_s / part.server,
            ),
            links=tuple(link.scaled(part.link) for link in problem.links),
        )
    )
    # A fleet's servers have names of their own; here there is one.
    here = tables.axes.servers[0] if part.candidate.server else ""
    index = solution.evaluation.index_of(replace(part.candidate, server=here))
    if not np.isfinite(solution.evaluation.objective[index]):
        return solution
    return replace(solution, best=solution.evaluation.row(index))


def fleet_robot(number: int, problem: Problem, link: LinkSpec | None) -> FleetRobot:
    """Make a robot of a fleet of a robot's problem.

    Args:
        number: counts the robots of the fleet.
        problem: what it can choose; its way to all servers is the same.
        link: the link that all share; None = it has its own.

    Raises:
        CodesignError: it has nothing to choose from.
    """
    limits = replace(problem.limits, deadline_s=None, uplink_bytes_per_s=None, robot_energy_j=None)
    own = problem.links[0]
    whole = replace(own, name=f"of robot {number + 1}") if link is None else link
    return FleetRobot(
        f"robot {number + 1}",
        options(replace(problem, limits=limits, late_share=None)),
        whole.at_rate(whole.bandwidth_bps),
        lambda_1=problem.lambda_1,
        frame_rate_hz=problem.frame_rate_hz,
        usual_rate_hz=problem.usual_rate_hz,
    )


def _own(
    place: int, shares: np.ndarray, times_s: Sequence[float], rates_hz: Sequence[float]
) -> float:
    """One robot's share, or what it would be if it came to those that have one."""
    if shares[place] > 0:
        return float(shares[place])
    users = zip(shares, times_s, rates_hz, strict=True)
    return 1.0 / (1.0 + sum(min(1.0, time * rate) for share, time, rate in users if share > 0))
