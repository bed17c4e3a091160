"""A cell of the matrix: what robots, server and link are, and which nodes with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.testbed.bed import ROBOTS, SERVER, LinkShape

ROBOT = "/robot"
"""Namespace of the first robot; others are ``/robot2`` and so on."""
PLANNER = "/codesign/planner"

# Where each node runs. The planner sits beside the server, as in the documented layout.
_SERVED = ("planner", "tail", "edge_server")
# Frames of the camera that wait for the head, so that the head and not the reader drops them.
_QUEUE_DEPTH = 8


@dataclass(frozen=True)
class Setup:
    """A cell of the matrix: what both sides and the link are, and what is planned for.

    Attributes:
        link: the link, the same both ways; all robots share it.
        robot_cores, server_cores: share of a core of each robot and of the server.
        precision: of both halves.
        objective: what ours plans for, ``latency`` or ``throughput``.
        window: frames in flight of each robot where the camera follows the results.
        source: what the cameras play, in a loop.
        planner: other parameters of the planner.
        robots: how many there are.
        bundle: folder of the network; None = the one of the package.
        camera, head, tail: other parameters of each robot's nodes.
        device: whose peaks in config/devices.yaml both sides have, for policies that look at them;
            empty = none.
    """

    link: LinkShape
    robot_cores: float = 0.5
    server_cores: float = 1.0
    precision: str = "fp32"
    objective: str = "throughput"
    window: int = 4
    source: str = ""
    planner: Mapping[str, Any] = field(default_factory=dict)
    robots: int = 1
    device: str = ""
    bundle: Path | None = None
    camera: Mapping[str, Any] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)
    tail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The robots' namespaces."""
        return (ROBOT, *(f"{ROBOT}{number}" for number in range(2, self.robots + 1)))

    @property
    def cores(self) -> dict[str, float]:
        """Share of a core by host of the bed."""
        robots = {host_of(robot, "head"): self.robot_cores for robot in self.namespaces}
        return {**robots, SERVER: self.server_cores}

    @property
    def nodes(self) -> dict[str, tuple[str, ...]]:
        """The nodes of each robot's set of processes; the first one's has the server's as well."""
        tail = "tail" if self.robots == 1 else "edge_server"
        own = dict.fromkeys(self.namespaces, ("head", "camera"))
        return {**own, ROBOT: ("planner", tail, *own[ROBOT])}

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Parameters by full name of the node."""
        bundle = str(self.bundle or default_bundle())
        source = self.source or str(resource_path("bags") / "mine_demo")
        device = {"bundle": bundle, "precisions": [self.precision]}
        if self.device:
            device["device"] = self.device
        camera = {"autostart": False, "source": source, "loop": True, "window": self.window}
        camera |= self.camera
        head = {**device, "image_reliability": "reliable", "queue_depth": _QUEUE_DEPTH, **self.head}
        tail = {**device, **self.tail}
        of_robots = {
            f"{robot}/{node}": values
            for robot in self.namespaces
            for node, values in (("camera", camera), ("head", head), ("tail", tail))
        }
        planner = {
            "bundle": bundle,
            "precisions": [self.precision],
            "objective": self.objective,
            **self.planner,
        }
        edge = {"/edge_server": {"robots": list(self.namespaces)}} if self.robots > 1 else {}
        return {**of_robots, **edge, PLANNER: planner}


def host_of(robot: str, node: str) -> str:
    """The bed's host that a robot's node runs on; also the name of its cache."""
    if node in _SERVED:
        return SERVER
    return ROBOTS + robot.removeprefix(ROBOT)
