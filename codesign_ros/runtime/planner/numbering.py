"""Which number a plan gets, and which devices run another plan than the one that has it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.epochs import is_newer, next_epoch
from codesign_ros.types.plan import Plan

# A device may say so long that it runs another plan: its next sign of life comes twice a second,
# and a tail is told after the head [s].
_STRAYED_S = 2.0


class Numbering:
    """Counts epochs on from what is heard, round and round within 32 bits."""

    def __init__(self) -> None:
        self._last = 0

    def hear(self, epoch: int) -> None:
        """Note an epoch that a device says it is in, whoever gave it the plan."""
        if self._last == 0 or is_newer(epoch, self._last):
            self._last = epoch

    def next(self, taken: Collection[int]) -> int:
        """The next number; ``taken`` are those that the robot's devices run already."""
        self._last = next_epoch(self._last)
        while self._last in taken:
            self._last = next_epoch(self._last)
        return self._last


class Straying:
    """Whether a robot's devices run the plan in force.

    They do not where another planner led them meanwhile, or the answer to a commit was lost.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None

    def look(self, plan: Plan | None, devices: Iterable[Device], now_s: float) -> bool:
        """Whether one of the devices has run another plan for too long; the count begins anew then.

        Args:
            plan: the plan in force; None = there is none.
            devices: of the robot.
            now_s: the time, on any steady clock [s].
        """
        if plan is None or all(_follows(device, plan) for device in devices):
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s <= _STRAYED_S:
            return False
        self._since_s = None
        return True


def _follows(device: Device, plan: Plan) -> bool:
    """Whether a device runs a plan, as far as it has to."""
    is_led = device.role is Role.HEAD or device.node == plan.served_by
    return not is_led or device.state != "active" or device.epoch == plan.epoch
