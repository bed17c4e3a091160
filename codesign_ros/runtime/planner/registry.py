"""Who is there: heads and tails by node name, what changed, and who fell silent."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from codesign_ros.runtime.device import Device, Heartbeat, Role
from codesign_ros.runtime.planner.changes import Change, change_between
from codesign_ros.runtime.planner.strangers import RollCall
from codesign_ros.runtime.sessions import GONE_S

GONE_STATES = ("unconfigured", "finalized")
# Devices that fell silent are remembered for so long [s], and so many of them.
_REMEMBERED_S, _MOST_REMEMBERED = 600.0, 1024
# The last words of a node that ends come within so long [s], heartbeats of one that lives do not.
_LAST_WORDS_S = 0.4


class Registry:
    """Devices that announced themselves. Times are on the planner's monotonic clock [s].

    Of two nodes of one name the one that started last, by its session, is the device; what the
    other says, its goodbye as well, changes nothing as long as the device lives.

    Args:
        silence_limit_s: a device that is silent for so long is gone; several heartbeats.
    """

    def __init__(self, silence_limit_s: float) -> None:
        self._silence_limit_s = silence_limit_s
        self._devices: dict[str, Device] = {}
        self._of_robot: defaultdict[str, dict[str, Device]] = defaultdict(dict)
        self._heard_s: dict[str, float] = {}
        # As they announced themselves: a device that comes back on the air need not do so again.
        self._lost: dict[str, Device] = {}
        self._lost_s: dict[str, float] = {}
        # When another node of a device's name was heard, first and last.
        self._twins_s: dict[str, tuple[float, float]] = {}
        self._roll_call = RollCall()
        # Silent for too long, and asked whether they are there.
        self._doubted: set[str] = set()

    def hear(self, device: Device, now_s: float) -> Change | None:
        """Take an announcement; returns what changed, or None if it was only a heartbeat."""
        if self.is_overruled(device, now_s):
            return None
        node = device.node
        if device.state in GONE_STATES:
            return Change(self._remove(node, device.state), anew=True)
        self._forget(node)
        self._doubted.discard(node)
        self._roll_call.answered(node)
        before = self._devices.get(node)
        if before is not None and before.robot != device.robot:
            self._remove(node, "moved")
        self._devices[node] = self._of_robot[device.robot][node] = device
        self._heard_s[node] = now_s
        who = f"{device.role.name.lower()} {node}"
        if before is None:
            return Change(f"{who} registered ({device.state})", anew=True)
        if before.session != device.session:
            # Its old process was not missed: the new one took its place within the lease.
            self._twins_s.pop(node, None)
            return Change(f"{who} started anew", anew=True)
        return change_between(before, device)

    def is_overruled(self, device: Device, now_s: float) -> bool:
        """Whether an announcement counts nothing: a goodbye of nobody, or another has the name."""
        node = device.node
        before = self._devices.get(node)
        if before is not None and before.session == device.session:
            return False
        if device.state in GONE_STATES:
            lost = self._lost.get(node)
            if lost is not None and lost.session == device.session:
                self._forget(node)
            self._twins_s.pop(node, None)
            return True
        if before is None or now_s - self._heard_s[node] > GONE_S:
            return False
        if _rank(device) > _rank(before):
            return False
        self._note_twin(node, now_s)
        return True

    def seems_to_leave(self, device: Device) -> bool:
        """Whether an active device says, or somebody in its name, that it is active no longer."""
        before = self._devices.get(device.node)
        return (
            before is not None
            and before.session == device.session
            and (before.state, device.state == "active") == ("active", False)
        )

    def known(self, beat: Heartbeat, now_s: float) -> Device | None:
        """The device that gives a sign of life, as it announced itself.

        None where it is not known, and is called for, or another of its name is the device.
        """
        node = beat.node
        device = self.announced(node)
        if device is not None and device.session == beat.session:
            return device
        if node in self._devices:
            self._note_twin(node, now_s)
            lives = now_s - self._heard_s[node] <= GONE_S
            if lives and beat.session < self._devices[node].session:
                return None
        self._roll_call.hear(node, now_s)
        return None

    def call(
        self, now_s: float, is_there: Callable[[str], bool] = lambda node: True
    ) -> tuple[str, ...]:
        """Nodes that live and are not known: they must announce themselves anew.

        Args:
            now_s: the time [s].
            is_there: whether a node can be reached; others are not called.
        """
        return self._roll_call.take(now_s, is_there)

    @property
    def strangers(self) -> int:
        """How many names give signs of life without being known."""
        return len(self._roll_call)

    def excuse(self, missed_s: float, now_s: float) -> None:
        """Note that nobody could be heard for so long until now [s], whatever they said."""
        for node, heard_s in self._heard_s.items():
            self._heard_s[node] = min(now_s, heard_s + missed_s)

    def doubt(self, now_s: float) -> list[Device]:
        """Doubt those that are silent for too long, each once: they stay until ``give_up``."""
        silent = [node for node in self._silent(now_s) if math.isfinite(self._heard_s[node])]
        self._doubted.update(silent)
        return [self._devices[node] for node in silent]

    def touch(self, node: str, now_s: float) -> None:
        """Note that a device is there, silent as it is."""
        if node in self._doubted:
            self._doubted.discard(node)
            self._heard_s[node] = now_s

    def give_up(self, node: str) -> None:
        """Note that a device which was doubted does not answer either."""
        if node in self._doubted:
            self._doubted.discard(node)
            self._heard_s[node] = -math.inf

    def _silent(self, now_s: float) -> list[str]:
        """Those silent for too long that are not doubted."""
        return [
            node
            for node, heard_s in self._heard_s.items()
            if now_s - heard_s > self._silence_limit_s and node not in self._doubted
        ]

    def expire(self, now_s: float) -> list[tuple[Device, str]]:
        """Remove devices that fell silent; returns them with what happened, one line each."""
        lost = self._silent(now_s)
        gone = [(self._devices[node], self._remove(node, "lost")) for node in lost]
        self._lost |= {device.node: device for device, _ in gone}
        self._lost_s |= dict.fromkeys(lost, now_s)
        for node, lost_s in list(self._lost_s.items()):  # the first of them fell silent first
            if now_s - lost_s <= _REMEMBERED_S and len(self._lost) <= _MOST_REMEMBERED:
                break
            self._forget(node)
        return gone

    def registered(self, node: str) -> Device | None:
        """The device of that name that is there."""
        return self._devices.get(node)

    def announced(self, node: str) -> Device | None:
        """The device of that name as it was last heard of, also if it was lost since."""
        return self._devices.get(node) or self._lost.get(node)

    @property
    def robots(self) -> set[str]:
        """Robots with a device that is there, or was."""
        return {*self._of_robot, *(device.robot for device in self._lost.values())}

    def head_of(self, robot: str) -> Device | None:
        """The active head in a robot's namespace."""
        return next(reversed(self._active(robot, Role.HEAD)), None)

    def tails_of(self, robot: str) -> dict[str, Device]:
        """The active tails that a robot has, by server; of several on one that which serves."""
        found = {tail.server: tail for tail in self._active(robot, Role.TAIL)}
        return dict(sorted(found.items()))

    @property
    def devices(self) -> tuple[Device, ...]:
        """All registered devices, by node name."""
        return tuple(self._devices[node] for node in sorted(self._devices))

    def devices_of(self, robot: str) -> list[Device]:
        """The registered devices in a robot's namespace."""
        return list(self._of_robot.get(robot, {}).values())

    def conflicts(self, now_s: float) -> list[str]:
        """Say where several nodes are in a place for one, one line each."""
        active = defaultdict(list)
        for device in self._devices.values():
            if device.state == "active":
                active[device.namespace, device.role].append(device)
        lines = []
        for (namespace, role), rivals in active.items():
            if len(rivals) > 1:
                names = ", ".join(sorted(device.node for device in rivals))
                first = max(rivals, key=_rank).node
                lines.append(
                    f"{len(rivals)} {role.name.lower()}s in {namespace}: {names}; {first} started "
                    "last and serves; stop all but one"
                )
        lines += [
            f"two nodes are named {node}; the one that started last serves; stop one of them"
            for node, (first_s, last_s) in self._twins_s.items()
            # Both live: a node that was killed is not heard again after the one that follows it,
            # and one that was stopped only by a late last word.
            if now_s - last_s <= GONE_S and last_s - first_s >= _LAST_WORDS_S
            if self._heard_s.get(node, first_s) > first_s
        ]
        return sorted(lines)

    def _note_twin(self, node: str, now_s: float) -> None:
        """Note a sign of life of another that has the name of a device."""
        first_s, last_s = self._twins_s.get(node, (now_s, now_s))
        if now_s - last_s > GONE_S:
            first_s = now_s
        self._twins_s[node] = first_s, now_s

    def _active(self, robot: str, role: Role) -> list[Device]:
        """In the order of their starts: the last one of a place serves, as they know themselves."""
        rivals = [
            device
            for device in self.devices_of(robot)
            if (device.role, device.state) == (role, "active")
        ]
        return sorted(rivals, key=_rank)

    def _forget(self, node: str) -> None:
        """Remember a device that fell silent no longer."""
        self._lost.pop(node, None)
        self._lost_s.pop(node, None)

    def _remove(self, node: str, why: str) -> str:
        device = self._devices.pop(node)
        self._doubted.discard(node)
        del self._heard_s[node]
        self._twins_s.pop(node, None)
        del self._of_robot[device.robot][node]
        if not self._of_robot[device.robot]:
            del self._of_robot[device.robot]
        return f"{device.role.name.lower()} {node} left ({why})"


def _rank(device: Device) -> tuple[bool, int, str]:
    """Of several the highest serves: one that still starts does not take an active one's place."""
    return device.state == "active", device.session, device.node
