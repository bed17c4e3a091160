"""Devices that are not heard may be gone, or the planner may only not hear them."""

from __future__ import annotations

import time
from collections.abc import Callable

from codesign_ros.nodes.identity.farewells import Farewells
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.stalls import Stalls

# Silences are looked at twenty times a second; a planner that did not for so long stood still [s].
_STALL_S = 1.0


class Silences:
    """What the planner does about silence that says nothing of those who are silent.

    Where it stood still itself, they have as long as before to be heard. In a flood of messages
    theirs may be lost: they are asked for their state, by a service that has its own way, and are
    gone if they do not answer.

    Args:
        node: the planner.
        topic: on which devices announce themselves.
        tell: has something done with the registry, with the planner's lock.
    """

    def __init__(
        self,
        node: WiredNode,
        topic: str,
        tell: Callable[[Callable[[Registry], None]], None],
    ) -> None:
        self._stalls = Stalls(_STALL_S)
        # For how long nobody could be heard, and that was not noted yet [s].
        self._missed_s = 0.0
        self._asked = Farewells(
            node,
            topic,
            take=lambda device: tell(lambda registry: registry.give_up(device.node)),
            refuse=lambda device: tell(
                lambda registry: registry.touch(device.node, time.monotonic())
            ),
        )

    def note(self, registry: Registry, now_s: float, *, is_flooded: bool) -> None:
        """Spare those who may only not be heard; the lock is held."""
        if self._missed_s:
            registry.excuse(self._missed_s, now_s)
            self._missed_s = 0.0
        if is_flooded:
            for device in registry.doubt(now_s):
                self._asked.ask(device)
        self._stalls.done(now_s)

    def look(self) -> None:
        """Ask, and see who answered; to be called often, without the lock."""
        self._missed_s += self._stalls.missed_s(time.monotonic())
        self._asked.look()
