"""The robot's camera and head as one process: frames go from one to the other without DDS."""

from __future__ import annotations

from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.camera_node import CameraNode
from codesign_ros.nodes.head_node import HeadNode
from codesign_ros.nodes.process import run_together


def make_robot() -> list[CodesignNode]:
    """Make camera and head; the head is active first, so that it misses no frame.

    Raises:
        CodesignError: a parameter of either has a value that is not allowed.
    """
    camera = CameraNode()
    return [HeadNode(camera), camera]


def main() -> int:
    """Run both as a process, which ends where either cannot start."""
    return run_together(make_robot, as_one=True)
