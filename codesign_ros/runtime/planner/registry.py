"""Who is there: heads and tails by node name, what changed, and who fell silent."""

from __future__ import annotations

from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.changes import Change, change_between

GONE_STATES = ("unconfigured", "finalized")


class Registry:
    """Devices that announced themselves. Times are on the planner's monotonic clock [s].

    Args:
        silence_limit_s: a device that is silent for so long is gone, whatever DDS says.
        silence_s: once DDS reports that some writer is lost, a device that has been silent for so
            long is the one; several heartbeats, and shorter than ``silence_limit_s``.
    """

    def __init__(self, silence_limit_s: float, silence_s: float) -> None:
        self._silence_limit_s = silence_limit_s
        self._silence_s = silence_s
        self._devices: dict[str, Device] = {}
        self._heard_s: dict[str, float] = {}
        # As they announced themselves: a device that comes back on the air need not do so again.
        self._lost: dict[str, Device] = {}
        self._suspicious_until_s = float("-inf")

    def hear(self, device: Device, now_s: float) -> Change | None:
        """Take an announcement; returns what changed, or None if it was only a heartbeat."""
        self._lost.pop(device.node, None)
        before = self._devices.get(device.node)
        if device.state in GONE_STATES:
            return Change(self._remove(device.node, device.state), anew=True) if before else None
        self._devices[device.node] = device
        self._heard_s[device.node] = now_s
        if before is None:
            who = f"{device.role.name.lower()} {device.node}"
            return Change(f"{who} registered ({device.state})", anew=True)
        return change_between(before, device)

    def suspect(self, now_s: float) -> None:
        """Note that DDS lost a writer of announcements: look for who is silent, for a while."""
        self._suspicious_until_s = now_s + 2 * self._silence_s

    def expire(self, now_s: float) -> list[tuple[Device, str]]:
        """Remove devices that fell silent; returns them with what happened, one line each."""
        limit_s = self._silence_s if now_s <= self._suspicious_until_s else self._silence_limit_s
        lost = [node for node, heard_s in self._heard_s.items() if now_s - heard_s > limit_s]
        self._lost |= {node: self._devices[node] for node in lost}
        return [(self._lost[node], self._remove(node, "lost")) for node in lost]

    def announced(self, node: str) -> Device | None:
        """The device of that name as it was last heard of, also if it was lost since."""
        return self._devices.get(node) or self._lost.get(node)

    def head_of(self, robot: str) -> Device | None:
        """The active head in a robot's namespace."""
        return self._active(robot, Role.HEAD)

    def tail_of(self, robot: str) -> Device | None:
        """The active tail in a robot's namespace."""
        return self._active(robot, Role.TAIL)

    def tails_of(self, robot: str) -> dict[str, Device]:
        """The active tails that a robot has, by server."""
        found: dict[str, Device] = {}
        for device in self.devices:
            if (device.robot, device.role, device.state) == (robot, Role.TAIL, "active"):
                found.setdefault(device.server, device)
        return found

    @property
    def devices(self) -> tuple[Device, ...]:
        """All registered devices, by node name."""
        return tuple(self._devices[node] for node in sorted(self._devices))

    def _active(self, robot: str, role: Role) -> Device | None:
        return next(
            (d for d in self.devices if (d.robot, d.role, d.state) == (robot, role, "active")), None
        )

    def _remove(self, node: str, why: str) -> str:
        device = self._devices.pop(node)
        del self._heard_s[node]
        return f"{device.role.name.lower()} {node} left ({why})"
