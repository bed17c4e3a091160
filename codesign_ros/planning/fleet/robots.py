"""The robots of a fleet as arrays: what each choice of each of them adds to the fleet's sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.link import travel_s
from codesign_ros.planning.fleet.options import Options
from codesign_ros.planning.fleet.relaxation import OWN, Sums
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec


@dataclass(frozen=True, eq=False)
class FleetRobot:
    """One robot of a fleet.

    Attributes:
        name: for people.
        options: what it can choose from; the same object for all robots of its class.
        link: its link; robots with the same one share it.
        slowdown: its head's time, as a multiple of its class's.
        link_rate: the rate it gets from the whole link, as a part of the link's rate.
        lambda_1: weight of its accuracy loss in Eq. 11 [s per unit of loss].
        frame_rate_hz: frames a second that it must keep up with; None = it need not.
        usual_rate_hz: frames a second that it has where it need not keep up with them; None = one
            frame after another, at its own pace.

    Raises:
        CodesignError: one of the numbers makes no sense.
    """

    name: str
    options: Options
    link: LinkSpec
    slowdown: float = 1.0
    link_rate: float = 1.0
    lambda_1: float = 0.0
    frame_rate_hz: float | None = None
    usual_rate_hz: float | None = None

    def __post_init__(self) -> None:
        for what in ("slowdown", "link_rate", "frame_rate_hz", "usual_rate_hz"):
            value = getattr(self, what)
            if value is not None and not 0 < value < math.inf:
                raise CodesignError(f"robot {self.name}: {what} must be above 0, not {value}")
        if self.link_rate > 1:
            raise CodesignError(
                f"robot {self.name}: link_rate is a part of the link's rate, at most 1, not "
                f"{self.link_rate:g}"
            )
        if self.link.states:
            raise CodesignError(
                f"robot {self.name}: a fleet divides a link of one rate; give {self.link.name} a "
                "bandwidth_bps in place of states"
            )
        if not 0 <= self.lambda_1 < math.inf:
            raise CodesignError(
                f"robot {self.name}: lambda_1 must be a number from 0 up, not {self.lambda_1}"
            )

    @property
    def travel_s(self) -> float:
        """What one of its frames spends on the link beside the payload's own time [s]."""
        return travel_s(self.link, self.options.evaluation.problem.tables.answer_bytes)


class Robots:
    """A fleet as arrays.

    ``parts`` are what a robot adds to the sums of ``relaxation``: its own time and weighted loss
    [s], and for each link and server its work [s], the root of it [s^0.5], the parts of it that its
    frames fill, and such a part times the root. ``choices`` hold each robot's index into its
    options.

    Attributes:
        robots: the robots (R).
        links: the links (L) that they have.
        servers: names of the servers (V) that they share.
        where: which sum is what, of links and servers together (D = L + V).
        rates_hz: (R,) frame rates that must be kept, 0 for those that need not.

    Raises:
        CodesignError: there is none, or one is too slow for its frame rate whatever it chooses.
    """

    def __init__(self, robots: Sequence[FleetRobot]) -> None:
        if not robots:
            raise CodesignError("a fleet needs at least one robot")
        self.robots = tuple(robots)
        self.links = tuple(dict.fromkeys(robot.link for robot in robots))
        self.servers = robots[0].options.evaluation.problem.tables.axes.servers
        links, servers = len(self.links), len(self.servers)
        loads_hz = np.array([r.frame_rate_hz or r.usual_rate_hz or 0.0 for r in robots])
        self.where = Sums(links + servers, paced=bool((loads_hz > 0).all()))
        self.rates_hz = np.array([robot.frame_rate_hz or 0.0 for robot in robots])
        self._members: list[np.ndarray] = []
        self._features: list[np.ndarray] = []
        self._class_of = np.zeros(len(robots), dtype=np.int64)
        self._place = np.zeros(len(robots), dtype=np.int64)
        # What multiplies a choice's features to give a robot's parts: (R, features, 1 + 5 D).
        self._scales = np.zeros((len(robots), 6 + 3 * servers, self.where.size))
        link_s_per_byte = np.array([8.0 / (r.link.bandwidth_bps * r.link_rate) for r in robots])
        self._scales[:, 0, OWN] = [robot.slowdown for robot in robots]
        self._scales[:, 1, OWN] = [robot.lambda_1 for robot in robots]
        self._scales[:, 2, OWN] = [robot.travel_s for robot in robots]
        each, its_link = np.arange(len(robots)), [self.links.index(r.link) for r in robots]
        where, places = self.where, np.arange(self.where.size)
        roots, uses, works, busy, loads = (
            places[part] for part in (where.roots, where.uses, where.works, where.busy, where.loads)
        )
        # Of the root of a choice's bytes, of the bytes, and of their power of 3/2.
        self._scales[each, 3, roots[its_link]] = np.sqrt(link_s_per_byte)
        self._scales[each, 4, uses[its_link]] = self.rates_hz * link_s_per_byte
        self._scales[each, 4, works[its_link]] = link_s_per_byte
        self._scales[each, 4, loads[its_link]] = loads_hz * link_s_per_byte
        self._scales[each, 5, busy[its_link]] = loads_hz * link_s_per_byte**1.5
        for server in range(servers):
            root, use, power = (6 + number * servers + server for number in range(3))
            self._scales[:, root, roots[links + server]] = 1.0
            self._scales[:, use, uses[links + server]] = self.rates_hz
            self._scales[:, use, works[links + server]] = 1.0
            self._scales[:, use, loads[links + server]] = loads_hz
            self._scales[:, power, busy[links + server]] = loads_hz
        by_class: dict[int, list[int]] = {}
        for i, robot in enumerate(robots):
            by_class.setdefault(id(robot.options), []).append(i)
        self._too_slow: list[np.ndarray | None] = []
        for number, members in enumerate(by_class.values()):
            choices = robots[members[0]].options
            self._class_of[members] = number
            self._place[members] = np.arange(len(members))
            self._members.append(np.array(members))
            self._features.append(
                np.stack(
                    (
                        choices.head_s,
                        choices.accuracy_loss,
                        np.where(choices.payload_bytes > 0, 1.0, 0.0),
                        np.sqrt(choices.payload_bytes),
                        choices.payload_bytes,
                        choices.payload_bytes**1.5,
                        *np.sqrt(choices.tail_s),
                        *choices.tail_s,
                        *choices.tail_s**1.5,
                    )
                )
            )
            self._too_slow.append(self._slow_choices(members, choices))
        # A tenth of a resource too much is already worse than any plan.
        self._penalty = 10.0 * self._dearest_s()

    def parts(self, choices: np.ndarray) -> np.ndarray:
        """What each robot adds to the sums: (R, 1 + 5 D)."""
        found = np.empty((len(self.robots), self._scales.shape[-1]))
        for members, features in zip(self._members, self._features, strict=True):
            chosen = features[:, choices[members]]
            found[members] = np.einsum("fr,rfc->rc", chosen, self._scales[members])
        return found

    def sums(self, choices: np.ndarray) -> np.ndarray:
        """The sums over the fleet: (1 + 5 D,)."""
        return self.parts(choices).sum(axis=0)

    def uses(self, choices: np.ndarray) -> np.ndarray:
        """What part of each link and server the robots' frames fill: (D,)."""
        return self.sums(choices)[self.where.uses]

    def parts_of(self, robot: int) -> np.ndarray:
        """What each choice of one robot would add: (K, 1 + 5 D), infinite where it is too slow."""
        number = self._class_of[robot]
        found = self._features[number].T @ self._scales[robot]
        too_slow = self._too_slow[number]
        if too_slow is not None:
            found[too_slow[self._place[robot]], OWN] = np.inf
        return found

    def works(self, choices: np.ndarray) -> np.ndarray:
        """Each robot's work: payload on whole links, tail on whole servers (R, D) [s]."""
        return self.parts(choices)[:, self.where.works]

    def answer(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every robot's cheapest choice at these prices of the sums, and the sums then."""
        choices = np.empty(len(self.robots), dtype=np.int64)
        weights = self._scales @ prices
        for members, features, too_slow in zip(
            self._members, self._features, self._too_slow, strict=True
        ):
            cost = weights[members] @ features
            if too_slow is not None:
                cost[too_slow] = np.inf
            choices[members] = cost.argmin(axis=1)
        return choices, self.sums(choices)

    def value(self, sums: np.ndarray) -> np.ndarray:
        """The fleet's objective of sums (..., 1 + 5 D) [s]; to use more than there is is dear."""
        over = np.maximum(0.0, sums[..., self.where.uses] - 1.0).sum(axis=-1)
        return self.where.objective(sums, self.where.met(sums)) + self._penalty * over

    def _slow_choices(self, members: list[int], each: Options) -> np.ndarray | None:
        """Choices with which a robot's head misses its frame rate: (members, K); None for none."""
        slowdown = np.array([self.robots[i].slowdown for i in members])
        late = (
            np.outer(slowdown * self.rates_hz[members], each.head_s) > 1.0 + 1e-9
        )  # room for rounding
        stuck = np.flatnonzero(late.all(axis=1))
        if len(stuck):
            robot = self.robots[members[stuck[0]]]
            best_s = robot.slowdown * float(each.head_s.min())
            raise CodesignError(
                f"robot {robot.name} cannot keep {robot.frame_rate_hz:.4g} frames a second: even "
                f"its fastest choice takes {1e3 * best_s:.4g} ms on the robot, and a frame may "
                f"take {1e3 / robot.frame_rate_hz:.4g} ms; a lower rate or a faster robot"
            )
        return late if late.any() else None

    def _dearest_s(self) -> float:
        """At least what any fleet plan costs, frame rates aside [s]."""
        most = np.zeros(self._scales.shape[-1])
        for members, features in zip(self._members, self._features, strict=True):
            most += np.einsum("f,rfc->c", features.max(axis=1), self._scales[members])
        return float(self.where.objective(most, np.ones(self.where.shared)))
