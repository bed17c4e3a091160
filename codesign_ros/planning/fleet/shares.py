"""What each robot of a fleet gets of links and servers, and what its choice costs it then.

The formulas are those of ``solve``.
"""

from __future__ import annotations

import numpy as np

from codesign_ros.planning.fleet.robots import Robots
from codesign_ros.planning.problem import CandidateCost, Row


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


def shares_of(fleet: Robots, choices: np.ndarray) -> np.ndarray:
    """What each robot gets of each link and server: (R, D), 0 where it does not need it."""
    works = fleet.works(choices)
    met = fleet.where.met(fleet.sums(choices))
    found = []
    for work, often in zip(works.T, met, strict=True):
        roots, least = np.sqrt(work), work * fleet.rates_hz
        # The time is the work and the roots of those that are in the way.
        times = often * roots.sum() + (1.0 - often) * roots
        shares = np.divide(roots, times, where=roots > 0, out=np.zeros_like(roots))
        found.append(best_shares(work, least) if (shares < least).any() else shares)
    return np.array(found).T


def rows_of(fleet: Robots, choices: np.ndarray, shares: np.ndarray) -> tuple[Row, ...]:
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
