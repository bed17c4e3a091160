"""The robots of a fleet as arrays: what each choice of each of them adds to the fleet's sums."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.fleet.options import Options
from codesign_ros.planning.fleet.relaxation import (
    LINK_ROOT,
    LINK_USE,
    OWN,
    SERVER_ROOT,
    SERVER_USE,
    USES,
)
from codesign_ros.types import CodesignError, LinkSpec


@dataclass(frozen=True, eq=False)
class FleetRobot:
    """One robot of a fleet.

    Attributes:
        name: for people.
        options: what it can choose from; the same object for all robots of its class.
        slowdown: its head's time, as a multiple of its class's.
        link_rate: the rate it gets from the whole link, as a part of the link's rate.
        lambda_1: weight of its accuracy loss in Eq. 11 [s per unit of loss].
        frame_rate_hz: frames a second that it must keep up with; None = one frame after another,
            at its own pace.

    Raises:
        CodesignError: one of the numbers makes no sense.
    """

    name: str
    options: Options
    slowdown: float = 1.0
    link_rate: float = 1.0
    lambda_1: float = 0.0
    frame_rate_hz: float | None = None

    def __post_init__(self) -> None:
        for what in ("slowdown", "link_rate", "frame_rate_hz"):
            value = getattr(self, what)
            if value is not None and not 0 < value < math.inf:
                raise CodesignError(f"robot {self.name}: {what} must be above 0, not {value}")
        if not 0 <= self.lambda_1 < math.inf:
            raise CodesignError(
                f"robot {self.name}: lambda_1 must be a number from 0 up, not {self.lambda_1}"
            )


class Robots:
    """A fleet as arrays.

    ``parts`` are what a robot adds to the five sums of ``fleet_relaxation``: its own time and
    weighted loss [s], the roots of its work on link and server [s^0.5], and the part of both that
    its frame rate fills. ``choices`` hold each robot's index into its options.

    Args:
        robots: the robots (R).
        link: the shared link.

    Raises:
        CodesignError: a robot is too slow for its frame rate whatever it chooses.
    """

    def __init__(self, robots: tuple[FleetRobot, ...], link: LinkSpec) -> None:
        self.robots = robots
        self.rates_hz = np.array([robot.frame_rate_hz or 0.0 for robot in robots])
        self._members: list[np.ndarray] = []
        self._features: list[np.ndarray] = []
        self._class_of = np.zeros(len(robots), dtype=np.int64)
        self._place = np.zeros(len(robots), dtype=np.int64)
        # What multiplies a choice's features to give a robot's parts: (R, features, 5).
        self._scales = np.zeros((len(robots), 7, 5))
        link_s_per_byte = np.array([8.0 / (link.bandwidth_bps * r.link_rate) for r in robots])
        self._scales[:, 0, OWN] = [robot.slowdown for robot in robots]
        self._scales[:, 1, OWN] = [robot.lambda_1 for robot in robots]
        self._scales[:, 2, OWN] = link.delay_s
        self._scales[:, 3, LINK_ROOT] = np.sqrt(link_s_per_byte)
        self._scales[:, 4, SERVER_ROOT] = 1.0
        self._scales[:, 5, LINK_USE] = self.rates_hz * link_s_per_byte
        self._scales[:, 6, SERVER_USE] = self.rates_hz
        by_class: dict[int, list[int]] = {}
        for i, robot in enumerate(robots):
            by_class.setdefault(id(robot.options), []).append(i)
        self._too_slow: list[np.ndarray | None] = []
        for number, members in enumerate(by_class.values()):
            each = robots[members[0]].options
            self._class_of[members] = number
            self._place[members] = np.arange(len(members))
            self._members.append(np.array(members))
            self._features.append(
                np.stack(
                    (
                        each.head_s,
                        each.accuracy_loss,
                        np.where(each.payload_bytes > 0, 1.0, 0.0),
                        np.sqrt(each.payload_bytes),
                        np.sqrt(each.tail_s),
                        each.payload_bytes,
                        each.tail_s,
                    )
                )
            )
            self._too_slow.append(self._slow_choices(members, each))
        # A tenth of a resource too much is already worse than any plan.
        self._penalty = 10.0 * self._dearest_s()

    def parts(self, choices: np.ndarray) -> np.ndarray:
        """What each robot adds to the sums: (R, 5)."""
        found = np.empty((len(self.robots), 5))
        for members, features in zip(self._members, self._features, strict=True):
            chosen = features[:, choices[members]]
            found[members] = np.einsum("fr,rfc->rc", chosen, self._scales[members])
        return found

    def sums(self, choices: np.ndarray) -> np.ndarray:
        """The five sums over the fleet."""
        return self.parts(choices).sum(axis=0)

    def parts_of(self, robot: int) -> np.ndarray:
        """What each choice of one robot would add: (K, 5), infinite where it is too slow."""
        number = self._class_of[robot]
        found = self._features[number].T @ self._scales[robot]
        too_slow = self._too_slow[number]
        if too_slow is not None:
            found[too_slow[self._place[robot]], OWN] = np.inf
        return found

    def works(self, choices: np.ndarray) -> np.ndarray:
        """Each robot's work: payload on the whole link, tail on the whole server (R, 2) [s]."""
        return self.parts(choices)[:, [LINK_ROOT, SERVER_ROOT]] ** 2

    def answer(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every robot's cheapest choice at these prices of the five sums, and the sums then."""
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
        """The fleet's objective of sums (..., 5) [s]; use beyond 1 of link or server is dear."""
        over = np.maximum(0.0, sums[..., USES] - 1.0).sum(axis=-1)
        return (
            sums[..., OWN]
            + sums[..., LINK_ROOT] ** 2
            + sums[..., SERVER_ROOT] ** 2
            + self._penalty * over
        )

    def _slow_choices(self, members: list[int], each: Options) -> np.ndarray | None:
        """Choices with which a robot's head misses its frame rate: (members, K); None for none."""
        slowdown = np.array([self.robots[i].slowdown for i in members])
        late = np.outer(slowdown * self.rates_hz[members], each.head_s) > 1.0
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
        most = np.zeros(5)
        for members, features in zip(self._members, self._features, strict=True):
            most += np.einsum("f,rfc->c", features.max(axis=1), self._scales[members])
        return float(most[OWN] + most[LINK_ROOT] ** 2 + most[SERVER_ROOT] ** 2)
