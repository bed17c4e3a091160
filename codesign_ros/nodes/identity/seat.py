"""A place for one: says that a node is in it, hears who else is, and knows who serves."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence

from codesign_ros.msg import Presence as PresenceMsg
from codesign_ros.nodes.identity.presence_hearing import PresenceHearing
from codesign_ros.nodes.identity.writers import Writers
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import presence_from_msg, presence_to_msg
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.sessions import Contest, Place, Presence, new_session

PRESENCE_PERIOD_S = 0.5
# Who serves is looked at as often; a node that did not for so long stood still [s].
_STALL_S = 1.5
PLANNERS = "/codesign/presence"
"""Topic on which planners say that they are there."""


class Seat:
    """The place of one node, among all that are active there: the one that started last serves.

    Args:
        node: the node.
        role: its place in its namespace.
        topic: where those in the place are heard.
        where: the namespace that has one such place; empty = there is one in all.
        on_change: told whether the node serves, each time that changes; on any thread.
    """

    def __init__(
        self,
        node: WiredNode,
        role: Place,
        topic: str,
        where: str = "",
        on_change: Callable[[bool], None] = lambda serves: None,
    ) -> None:
        process = f"{socket.gethostname()}:{os.getpid()}"
        self.session = new_session()
        # Whether this node serves; what there is to say of others, where any are there.
        self.serves = True
        self.contested = ""
        self._node = node
        self._own = Presence(node.get_fully_qualified_name(), role, self.session, process)
        self._contest = Contest(self._own, where)
        self._on_change = on_change
        self._judging = threading.Lock()
        self._writers = Writers(node, topic)
        self._hearing = PresenceHearing(self._writers, _STALL_S)
        self._publisher = node.advertise(PresenceMsg, topic, qos.heartbeat())
        self._hearing.listen(node, topic, self._on_presence)

    def tell(self, unknown: Sequence[str] = ()) -> None:
        """Say that the node is there; to be called twice a second while it is active.

        Args:
            unknown: see msg/Presence.msg.
        """
        self._publisher.publish(presence_to_msg(self._own, unknown))
        self.look()

    def look(self) -> None:
        """Find out who serves; loudly, where that changed."""
        with self._judging:
            now_s = time.monotonic()
            self._hearing.spare(self._contest.others, now_s)
            text, serves = self._contest.text(now_s), self._contest.serves(now_s)
            if text != self.contested:
                self.contested = text
                if text:
                    self._node.get_logger().error(text)
                else:
                    self._node.get_logger().info("nobody else is in this place any more")
            if serves != self.serves:
                self.serves = serves
                self._on_change(serves)

    def _on_presence(self, msg: PresenceMsg) -> None:
        other = presence_from_msg(msg)
        if other.session == self.session:
            return
        # One of our own name is another only where there are two.
        if not self._writers.vouch(other.node, "presence", 1 + (other.node == self._own.node)):
            return
        with self._judging:
            self._contest.hear(other, time.monotonic())
        self.look()
