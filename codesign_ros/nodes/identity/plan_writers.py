"""The plans in force, as whoever comes late hears them: of each robot the newest, and no other."""

from __future__ import annotations

import threading
from collections.abc import Collection

from rclpy.publisher import Publisher

from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.wiring import WiredNode

TOPIC = "/codesign/plan"
# A robot that has no device for so long has no plan in force [s]. A head that is out of reach still
# follows its plan.
_GONE_S = 60.0


class PlanWriters:
    """A writer for each robot, which keeps one plan.

    DDS keeps the last messages of a writer, whatever they are about: with one writer for all, a
    robot's old plans would take the place of other robots' plans in force. Keyed topics, which
    would do it with one, cannot be written in .msg files.

    Args:
        node: the planner.
    """

    def __init__(self, node: WiredNode) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._writers: dict[str, Publisher] = {}
        self._seen_s: dict[str, float] = {}
        # Says at the start that the topic is there, and whether its overrides can be used.
        node.advertise(PlanMsg, TOPIC, qos.state())

    def publish(self, plan: PlanMsg) -> None:
        """Publish a plan that is in force now."""
        with self._lock:
            writer = self._writers.get(plan.robot)
        if writer is None:  # a robot is led by one thread at a time
            writer = self._node.advertise(PlanMsg, TOPIC, qos.state())
            with self._lock:
                self._writers[plan.robot] = writer
        writer.publish(plan)

    def keep(self, robots: Collection[str], now_s: float) -> None:
        """Keep the plans of these robots, and those of others for a while.

        Args:
            robots: those that have a device.
            now_s: the time, on any steady clock [s].
        """
        with self._lock:
            for robot in self._writers:
                if robot in robots:
                    self._seen_s[robot] = now_s
            gone = [
                robot
                for robot in self._writers
                if now_s - self._seen_s.setdefault(robot, now_s) > _GONE_S
            ]
        self.withdraw(gone)

    def withdraw(self, robots: Collection[str] | None = None) -> None:
        """Take back the plans of some robots, or of all: they are not in force any more."""
        with self._lock:
            names = list(self._writers if robots is None else robots)
            leaving = [self._writers.pop(name) for name in names if name in self._writers]
            for name in names:
                self._seen_s.pop(name, None)
        if leaving:
            self._node.withdraw(leaving)

    def forget(self) -> None:
        """Note that the node destroyed the writers."""
        with self._lock:
            self._writers.clear()
            self._seen_s.clear()
