"""Devices that are heard and not planned for: some announced themselves, others only live.

An announcement is a message that anybody can write, under any name, by the thousand. Only a device
that can be reached is planned for; the others neither get a plan nor stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from codesign_ros.runtime.device import Device

# So long a device may need until it can be reached [s]; afterwards its heartbeats are answered by a
# call once it can.
_LOBBY_S = 5.0
# Devices that wait at most, and the halves in their profiles; the oldest go first.
_MOST_DEVICES, _MOST_HALVES = 256, 100_000

# Names in one call; a fleet that all answers at once would overrun the planner again.
MOST_NAMES = 100
FEW_NAMES = 4
"""So many do not overrun it: they are called sooner, and answer at once."""

# An announcement may be on the way for so long before the name is called [s], and for so much less
# where there are few.
_WAIT_S, _LESS_S = 0.5, 0.4
# So long an answer may take before the name is called again [s].
_AGAIN_S = 1.0
# A name that gave no sign of life for so long is not called any more [s].
_FORGET_S = 2.0
# Names that are kept at most; somebody may make them up.
_MOST_KEPT = 4096


class Lobby:
    """Devices that announced themselves and cannot be reached yet, by node; few wait.

    Times are of any one steady clock [s].
    """

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
            elif now_s - since_s <= _LOBBY_S:
                continue
            self.leave(node)
        return found


def _size(device: Device) -> int:
    """How many halves it names."""
    return len(device.engines or ()) + (len(device.profile.half_s) if device.profile else 0)


class RollCall:
    """Names that were heard in heartbeats alone. Times are of any one steady clock [s].

    An announcement may have been lost, or was taken back by another node of the same name; as long
    as a node lives it is asked again.
    """

    def __init__(self) -> None:
        # By name: when it was heard last, and when it may be called next.
        self._heard_s: dict[str, float] = {}
        self._due_s: dict[str, float] = {}

    def hear(self, node: str, now_s: float) -> None:
        """Note a sign of life of a node that is not known."""
        # The one that was heard longest ago is the first of all.
        self._heard_s.pop(node, None)
        self._heard_s[node] = now_s
        self._due_s.setdefault(node, now_s + _WAIT_S)
        if len(self._heard_s) > _MOST_KEPT:
            self.answered(next(iter(self._heard_s)))

    def answered(self, node: str) -> None:
        """Note that a node is known now."""
        self._heard_s.pop(node, None)
        self._due_s.pop(node, None)

    def __len__(self) -> int:
        return len(self._heard_s)

    def take(
        self, now_s: float, is_there: Callable[[str], bool] = lambda node: True
    ) -> tuple[str, ...]:
        """Names to call now, those that wait longest first; each again after a while.

        Args:
            now_s: the time [s].
            is_there: whether a node can be reached; nobody else need be called.
        """
        for node, heard_s in list(self._heard_s.items()):
            if now_s - heard_s > _FORGET_S:
                self.answered(node)
        by_s = now_s + (_LESS_S if len(self) <= FEW_NAMES else 0.0)
        due = [node for node, due_s in self._due_s.items() if due_s <= by_s and is_there(node)]
        due.sort(key=self._due_s.__getitem__)
        names = tuple(due[:MOST_NAMES])
        self._due_s |= dict.fromkeys(names, now_s + _AGAIN_S)
        return names
