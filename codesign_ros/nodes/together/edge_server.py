"""The edge server: one process with a tail for each of several robots, on the same engines."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import rclpy
from rclpy.exceptions import InvalidNamespaceException
from rclpy.validate_namespace import validate_namespace

from codesign_ros.nodes.interface.params import Param, Params
from codesign_ros.nodes.process import run_together
from codesign_ros.nodes.tail_node import TailNode
from codesign_ros.runtime.engines.share import EngineShare
from codesign_ros.types.errors import CodesignError

ROBOTS = Param(
    "robots",
    [""],
    "namespaces of the robots that this process has a tail for, e.g. [miner1, miner2]",
    fixed=True,
)
SERVER = Param(
    "server",
    "",
    "name of this edge server, where its robots have several; empty = it is the only one",
    fixed=True,
)


def namespaces(robots: Sequence[str]) -> list[str]:
    """Return robots' namespaces, each with its slash in front.

    Raises:
        CodesignError: one is no namespace, or is there twice.
    """
    found: list[str] = []
    for robot in robots:
        namespace = robot if robot.startswith("/") else f"/{robot}"
        if not _is_namespace(namespace):
            raise CodesignError(
                f"parameter robots: {robot!r} is not the namespace of a robot; "
                "give some, e.g. robots:=[miner1,miner2]"
            )
        if namespace in found:
            raise CodesignError(f"parameter robots: {namespace} is there twice")
        found.append(namespace)
    return found


def _is_namespace(name: str) -> bool:
    try:
        return validate_namespace(name) and name != "/"
    except InvalidNamespaceException:
        return False


def make_tails() -> list[TailNode]:
    """Make the tails of the parameter ``robots``.

    A tail that has a parameter with a value that is not allowed says so and is left out.

    Raises:
        CodesignError: the parameter cannot be used, or no tail is left.
    """
    node = rclpy.create_node("edge_server")
    try:
        params = Params(node, (ROBOTS, SERVER))
        server = params["server"]
        if server and not _is_namespace(f"/{server}"):
            raise CodesignError(
                f"parameter server: {server!r} cannot be part of a namespace; give a name, e.g. "
                "edge1"
            )
        robots = namespaces(params["robots"])
    finally:
        node.destroy_node()
    engines = EngineShare()
    tails: list[TailNode] = []
    for robot in robots:
        # Names given for the process, as `ros2 launch` does, must not rename its tails.
        namespace = f"{robot}/{server}" if server else robot
        own = ["--ros-args", "-r", "__node:=tail", "-r", f"__ns:={namespace}"]
        own += ["-p", f"server:='{server}'"]
        try:
            tails.append(TailNode(engines, arguments=own))
        except CodesignError as error:
            mistake = f"{namespace}/tail: {error}"
            if not tails and robot == robots[-1]:
                raise CodesignError(mistake) from None
            print(f"error: {mistake}", file=sys.stderr)
    return tails


def main() -> int:
    """Run the edge server as a process."""
    return run_together(make_tails)
