"""A fleet as a file: robots, the links that they share, and the servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.catalogue import Entry, find_device, find_link, read_entries, read_mapping
from codesign_ros.planning.fleet.options import Options, options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.solve import Alone, FleetPlan, each_alone, share
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.problem import WhatIf, what_if_problem

# Ten thousand take seconds to plan.
MOST_ROBOTS = 10_000

_ROBOT_OPTIONAL = ("count", "frame_rate_hz", "slowdown", "link_rate", "lambda_1")


@dataclass(frozen=True)
class RobotGroup:
    """Robots that are alike.

    Attributes:
        name: for people.
        device: what each of them computes on.
        link: their link; groups that name the same one share it.
        count: how many there are.
        frame_rate_hz, slowdown, link_rate: as in ``FleetRobot``.
        lambda_1: likewise; None = that of the whole fleet.
    """

    name: str
    device: DeviceSpec
    link: LinkSpec
    count: int
    frame_rate_hz: float | None
    slowdown: float
    link_rate: float
    lambda_1: float | None


@dataclass(frozen=True)
class Fleet:
    """What a fleet's file says.

    Attributes:
        groups: the robots.
        servers: the devices of the servers, under the names that the file gives them.
    """

    groups: tuple[RobotGroup, ...]
    servers: tuple[DeviceSpec, ...]


def read_fleet(
    path: Path, devices: Mapping[str, DeviceSpec], links: Mapping[str, LinkSpec]
) -> Fleet:
    """Read a fleet; ``config/fleet.yaml`` is an example that says what may stand in it.

    Args:
        path: the file.
        devices: known devices by name.
        links: known links by name.

    Raises:
        CodesignError: it cannot be read, an entry is not what a robot or a server needs, or there
            are too many robots.
    """
    if unknown := sorted(map(str, read_mapping(path, "a fleet").keys() - {"servers", "robots"})):
        raise CodesignError(f"{path} has an unknown part {unknown[0]!r}; known are servers, robots")
    servers = tuple(
        replace(find_device(devices, entry.text("device")), name=entry.name)
        for entry in read_entries(path, "server", ("device",), ())
    )
    groups = tuple(
        RobotGroup(
            entry.name,
            find_device(devices, entry.text("device")),
            find_link(links, entry.text("link")),
            _count(entry),
            entry.number("frame_rate_hz", None),
            entry.number("slowdown", 1.0),
            entry.number("link_rate", 1.0),
            entry.number("lambda_1", None, zero=True),
        )
        for entry in read_entries(path, "robot", ("device", "link"), _ROBOT_OPTIONAL)
    )
    total = sum(group.count for group in groups)
    if total > MOST_ROBOTS:
        raise CodesignError(f"{path} has {total} robots; at most {MOST_ROBOTS} are planned at once")
    return Fleet(groups, servers)


@dataclass(frozen=True, eq=False)
class PlannedFleet:
    """A fleet with its plan.

    Attributes:
        groups: the group of each robot (R).
        robots: the robots (R).
        plan: what they should do together.
        alone: what each would do if there were no others.
    """

    groups: tuple[RobotGroup, ...]
    robots: tuple[FleetRobot, ...]
    plan: FleetPlan
    alone: Alone

    @property
    def notes(self) -> list[str]:
        """What is to be said of the cost model, one line each."""
        tables = (robot.options.evaluation.problem.tables for robot in self.robots)
        return list(dict.fromkeys(note for table in tables for note in table.notes))


def plan_fleet(
    bundle: Bundle,
    fleet: Fleet,
    conditions: Callable[[DeviceSpec, tuple[DeviceSpec, ...], tuple[LinkSpec, ...]], WhatIf],
) -> PlannedFleet:
    """Plan a fleet whose robots all run one network.

    Args:
        bundle: the network.
        fleet: the fleet.
        conditions: those for a robot with this device, servers, and links to them. What can be
            chosen is worked out once for each device; a group's own lambda_1 goes before theirs.

    Raises:
        CodesignError: a device cannot do what was asked for, a robot's numbers make no sense, or
            the frame rates cannot be kept.
    """
    choices: dict[str, Options] = {}
    groups, robots = [], []
    for group in fleet.groups:
        what_if = conditions(group.device, fleet.servers, (group.link,) * len(fleet.servers))
        if what_if.mode == "measured":
            raise CodesignError(
                "--mode measured is for one robot; a fleet is planned from its devices' peaks, "
                "with --mode roofline (and --fit for what was profiled) or --mode paper"
            )
        if group.device.name not in choices:
            choices[group.device.name] = options(what_if_problem(bundle, what_if))
        for number in range(1, group.count + 1):
            groups.append(group)
            robots.append(
                FleetRobot(
                    group.name if group.count == 1 else f"{group.name} {number}",
                    choices[group.device.name],
                    group.link,
                    group.slowdown,
                    group.link_rate,
                    what_if.lambda_1 if group.lambda_1 is None else group.lambda_1,
                    group.frame_rate_hz,
                )
            )
    return PlannedFleet(tuple(groups), tuple(robots), share(robots), each_alone(robots))


def _count(entry: Entry) -> int:
    count = entry.number("count", 1.0)
    if not count.is_integer():
        raise CodesignError(f"{entry.where}: count must be a whole number, not {count:g}")
    return int(count)
