"""The planners that a head or a tail hears, and which of them it heeds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from codesign_ros.msg import Presence as PresenceMsg
from codesign_ros.nodes.identity.presence_hearing import PresenceHearing
from codesign_ros.nodes.identity.seat import PLANNERS
from codesign_ros.nodes.identity.writers import Writers
from codesign_ros.nodes.interface.messages import presence_from_msg
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.sessions import Place, Presence, Roster, contested
from codesign_ros.types.errors import CodesignError

# They are looked at about once a second; a node that did not for so long stood still [s].
_STALL_S = 3.0


class Planners:
    """Hears planners; a node does as the one says that started last.

    Args:
        node: the head or the tail.
        on_called: told, on the executor's thread, that a planner does not know the node, and how
            many it does not know in all.
    """

    def __init__(self, node: WiredNode, on_called: Callable[[int], None]) -> None:
        self._node = node
        self._on_called = on_called
        self._roster = Roster()
        self._lock = threading.Lock()
        self._said = ""
        self._writers = Writers(node, PLANNERS)
        self._hearing = PresenceHearing(self._writers, _STALL_S)
        self._hearing.listen(node, PLANNERS, self._on_presence)

    @property
    def contested(self) -> str:
        """Say that several planners are there, one line; empty where there is one."""
        with self._lock:
            planners = self._present()
        return contested("planner", "", planners) if len(planners) > 1 else ""

    def check(self, planner: int) -> None:
        """Heed a planner; 0 = somebody who is none, a user say, and is always heeded.

        Raises:
            CodesignError: one that started later is there.
        """
        with self._lock:
            planners = self._present()
        if planner and planners and planners[0].session > planner:
            raise CodesignError(f"planner {planners[0]} started later and leads; stop one of them")

    def _present(self) -> list[Presence]:
        now_s = time.monotonic()
        self._hearing.spare(self._roster, now_s)
        return self._roster.present(now_s)

    def _on_presence(self, msg: PresenceMsg) -> None:
        presence = presence_from_msg(msg)
        if presence.role is not Place.PLANNER:
            return
        if not self._writers.vouch(presence.node, "presence"):
            return
        with self._lock:
            self._roster.hear(presence, time.monotonic())
        text = self.contested
        if text and text != self._said:
            self._node.get_logger().error(text)
        self._said = text
        if self._node.get_fully_qualified_name() in msg.unknown:
            self._on_called(len(msg.unknown))
