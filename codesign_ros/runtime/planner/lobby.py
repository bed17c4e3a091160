"""Devices that announced themselves and were not seen at work yet: they wait here, and few do.

An announcement is a message that anybody can write, under any name, by the thousand. Only a device
that can be reached is planned for; the others neither get a plan nor stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from codesign_ros.runtime.device import Device

# So long a device may need until it can be reached [s]; afterwards its heartbeats are answered by a
# call once it can.
_WAIT_S = 5.0
# Devices that wait at most, and the halves in their profiles; the oldest go first.
_MOST_DEVICES, _MOST_HALVES = 256, 100_000


class Lobby:
    """Devices that wait, by node. Times are of any one steady clock [s]."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Device, float]] = {}
        self._halves = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, device: Device, now_s: float) -> None:
        """Have a device wait, with what it says last."""
        self.leave(device.node)
        self._waiting[device.node] = device, now_s
        self._halves += _size(device)
        while len(self._waiting) > _MOST_DEVICES or self._halves > _MOST_HALVES:
            self.leave(next(iter(self._waiting)))

    def leave(self, node: str) -> None:
        """Forget a device, if it waits."""
        if node in self._waiting:
            device, _ = self._waiting.pop(node)
            self._halves -= _size(device)

    def take(self, is_there: Callable[[str], bool], now_s: float) -> list[Device]:
        """Take those that can be reached now, by node; forget those that waited too long."""
        found = []
        for node, (device, since_s) in list(self._waiting.items()):
            if is_there(node):
                found.append(device)
            elif now_s - since_s <= _WAIT_S:
                continue
            self.leave(node)
        return found


def _size(device: Device) -> int:
    """How many halves it names."""
    return len(device.engines or ()) + (len(device.profile.half_s) if device.profile else 0)
