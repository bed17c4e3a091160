"""Whether a fleet's frames fit on its links and servers at all: an exact search.

What each robot's frames fill of each link and server depends on its choice alone, so this is a
multiple-choice packing: one choice a robot, and no sum above 1. The search by prices and single
moves (``solve``) may miss a packing that needs several robots to change at once; this one goes
through all of them, depth first, robots with the greatest needs first, and turns back where what
is used and the least that the robots to come must use do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.fleet.relaxation import OWN
from codesign_ros.planning.fleet.robots import Robots

MOST_STEPS = 100_000
"""Steps after which the search gives up; they take about two seconds."""


@dataclass(frozen=True, eq=False)
class Packing:
    """What the search found.

    Attributes:
        choices: (R,) each robot's choice; None where none was found.
        exhausted: whether all were tried, so that None means that there is none.
    """

    choices: np.ndarray | None
    exhausted: bool


def pack(fleet: Robots, most: float, most_steps: int = MOST_STEPS) -> Packing:
    """Look for choices with which no link or server is used above ``most``.

    Args:
        fleet: the robots.
        most: part of a link or server that may be used.
        most_steps: after how many steps to give up.
    """
    robots = len(fleet.robots)
    offered, uses = [], []
    for robot in range(robots):
        parts = fleet.parts_of(robot)
        use = parts[:, fleet.where.uses]
        # Of choices that use the same, the first stands for all; too slow ones are out.
        known = np.flatnonzero(np.isfinite(parts[:, OWN]))
        _, first = np.unique(use[known], axis=0, return_index=True)
        kept = known[first]
        kept = kept[np.argsort(use[kept].sum(axis=1), kind="stable")]
        offered.append(kept)
        uses.append(use[kept])
    order = sorted(range(robots), key=lambda robot: -float(uses[robot].max(axis=1).min()))
    links = len(fleet.links)
    # The least that the robots from a place on use of each resource, and of all servers together.
    least = np.zeros((robots + 1, fleet.where.shared))
    least_served = np.zeros(robots + 1)
    for place in range(robots - 1, -1, -1):
        use = uses[order[place]]
        least[place] = least[place + 1] + use.min(axis=0)
        least_served[place] = least_served[place + 1] + use[:, links:].sum(axis=1).min()
    servers = fleet.where.shared - links
    used = np.zeros((robots + 1, fleet.where.shared))
    # At each place the choices yet to be tried, the one with most room left last.
    trials: list[list[int]] = [[] for _ in range(robots)]
    chosen = np.zeros(robots, dtype=np.int64)

    def open_place(place: int) -> None:
        then = used[place] + uses[order[place]]
        fits = ((then + least[place + 1]) <= most).all(axis=1)
        fits &= then[:, links:].sum(axis=1) + least_served[place + 1] <= servers * most
        fitting = np.flatnonzero(fits)
        trials[place] = fitting[np.argsort(-then[fitting].max(axis=1), kind="stable")].tolist()

    place = 0
    open_place(0)
    for _ in range(most_steps):
        if not trials[place]:
            place -= 1
            if place < 0:
                return Packing(None, exhausted=True)
            continue
        robot, pick = order[place], trials[place].pop()
        chosen[robot] = offered[robot][pick]
        used[place + 1] = used[place] + uses[robot][pick]
        place += 1
        if place == robots:
            return Packing(chosen, exhausted=False)
        open_place(place)
    return Packing(None, exhausted=False)
