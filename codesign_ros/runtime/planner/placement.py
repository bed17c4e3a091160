"""On which of several servers a robot is: chosen with the fleet's solver, kept while it is good.

A robot may have a tail on each of a pool of servers. It is placed on one of them, with the others
where they are: on another only when its own is gone, or when moving saves the fleet a good part of
what a frame of this robot takes. So the robots of a server that is lost go to what is left of the
pool, those of the other servers stay, and no two change places for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.planning.fleet.solve import FleetPlan, share
from codesign_ros.planning.problem import Problem
from codesign_ros.runtime.planner.sharing import fleet_robot
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

# A robot is moved if the fleet saves so much of what the robot's frame takes; the switch's own gain
# is asked for besides.
_LEAST_GAIN = 0.15
# After a move that was not needed the robot stays for so long [s].
_HOLD_S = 30.0
# Whether another server is better is looked at no more often than the one, without any reason as
# often as the other [s].
_LOOK_S, _USUAL_LOOK_S = 5.0, 30.0


@dataclass
class _Place:
    server: str
    moved_s: float
    looked_s: float


class Placements:
    """Where robots are. Times are on the planner's monotonic clock [s]."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def of(self, robot: str) -> str | None:
        """The server on which a robot is; None before it was placed."""
        place = self._places.get(robot)
        return place.server if place else None

    def is_due(self, robot: str, servers: Sequence[str], now_s: float) -> bool:
        """Whether a robot must be placed, or might be better on another of its servers now."""
        place = self._places.get(robot)
        if place is None or place.server not in servers:
            return bool(servers)
        if len(servers) < 2 or now_s < place.moved_s + _HOLD_S:
            return False
        return now_s >= place.looked_s + _LOOK_S

    def is_stale(self, robot: str, now_s: float) -> bool:
        """Whether nobody looked for long whether a robot is where it should be."""
        place = self._places.get(robot)
        return place is not None and now_s >= place.looked_s + _USUAL_LOOK_S

    def look_again(self, robot: str) -> None:
        """Note that one of a robot's servers is not as it was."""
        if place := self._places.get(robot):
            place.looked_s = -math.inf

    def put(self, robot: str, server: str, now_s: float, *, chosen: bool) -> None:
        """Place a robot; ``chosen``: it could have stayed."""
        place = self._places.get(robot)
        if place is not None and place.server == server:
            place.looked_s = now_s
        else:
            self._places[robot] = _Place(server, now_s if chosen else -math.inf, now_s)

    def forget(self, robot: str) -> None:
        """Note that a robot is gone."""
        self._places.pop(robot, None)

    def best(
        self,
        robot: str,
        problems: Mapping[str, Mapping[str, Problem]],
        link: LinkSpec | None,
        least_gain: float,
    ) -> str:
        """Choose a robot's server, with the others where they are.

        Args:
            robot: whose.
            problems: of each robot by server, this robot among them; each for one server.
            link: the link that all share; None = each has its own.
            least_gain: share of the robot's objective that a move must save at least.
        """
        own = problems[robot]
        now = self.of(robot)
        if len(own) == 1:
            return next(iter(own))
        # Robots whose server is gone may go anywhere, like this one.
        fixed = {}
        for name, by_server in problems.items():
            place = self.of(name)
            at_place = {place: by_server[place]} if place is not None and place in by_server else {}
            fixed[name] = at_place or by_server
        try:
            free = _solve({**fixed, robot: own}, link)
            there = _server_of(free, {**fixed, robot: own}, robot)
            if now is None or now not in own:
                return there or self._emptiest(own)
            if there in ("", now):
                return now
            stay = _solve({**fixed, robot: {now: own[now]}}, link)
        except CodesignError:
            # Frame rates that nobody can keep, or nothing to choose from: its own plan will say.
            return now if now is not None and now in own else self._emptiest(own)
        number = sorted(problems).index(robot)
        saved_s = stay.objective_s - free.objective_s
        least = max(_LEAST_GAIN, least_gain)
        return there if saved_s > least * stay.rows[number].prediction.objective else now

    def _emptiest(self, servers: Mapping[str, Problem]) -> str:
        """The server with the fewest robots; of equal ones the first by name."""
        crowds = Counter(place.server for place in self._places.values())
        return min(servers, key=lambda server: (crowds[server], server))


def over_servers(by_server: Mapping[str, Problem], servers: Sequence[str]) -> Problem:
    """Make one problem of a robot's problems with each of some servers alone.

    Args:
        by_server: at least one, each with one server.
        servers: the axis of the new problem; those without a problem cannot be chosen.
    """
    first = next(iter(by_server.values()))
    tables = first.tables

    def spread(name: str) -> np.ndarray:
        one = getattr(tables, name)[0]
        found = np.full((len(servers), *one.shape), np.nan)
        for index, server in enumerate(servers):
            if server in by_server:
                found[index] = getattr(by_server[server].tables, name)[0]
        found[:, -1] = one[-1]  # all on the robot is the same with each of them
        return found

    halves = first.halves
    if halves is not None:
        own = [by_server[s].halves or halves if s in by_server else halves for s in servers]
        with_neck = [each.neck_tail[0] for each in own if each.neck_tail is not None]
        halves = replace(
            halves,
            tail=np.array([each.tail[0] for each in own]),
            neck_tail=np.array(with_neck) if len(with_neck) == len(own) else None,
        )
    return replace(
        first,
        tables=replace(
            tables,
            axes=replace(tables.axes, servers=tuple(servers)),
            tail_s=spread("tail_s"),
            decode_s=spread("decode_s"),
            neck_tail_s=None if tables.neck_tail_s is None else spread("neck_tail_s"),
        ),
        links=first.links * len(servers),
        halves=halves,
    )


def _solve(problems: Mapping[str, Mapping[str, Problem]], link: LinkSpec | None) -> FleetPlan:
    servers = sorted({server for by_server in problems.values() for server in by_server})
    return share(
        [
            fleet_robot(number, over_servers(problems[name], servers), link)
            for number, name in enumerate(sorted(problems))
        ]
    )


def _server_of(plan: FleetPlan, problems: Mapping[str, Mapping[str, Problem]], robot: str) -> str:
    """Where the fleet's plan has a robot; empty where all of it stays on the robot."""
    return plan.rows[sorted(problems).index(robot)].candidate.server
