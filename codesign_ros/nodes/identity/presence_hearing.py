"""Hears presences, those of a flood within limits, and who is there though he is not heard."""

from __future__ import annotations

from collections.abc import Callable

from codesign_ros.msg import Presence as PresenceMsg
from codesign_ros.nodes.border.gate import Gate
from codesign_ros.nodes.identity.writers import Writers
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.sessions import GONE_S, Roster
from codesign_ros.runtime.stalls import Stalls

# Presences that are kept until they are read, so that a burst of others replaces none.
_DEPTH = 256
# Those in the name of nobody who publishes there are refused; so many are [1/s], and the rest not
# even read.
_OTHERS_HZ, _OTHERS_BURST = 20.0, 40


class PresenceHearing:
    """The presences on one topic.

    Args:
        writers: the nodes that publish there.
        stall_s: the node stood still if ``spare`` was not called for so long [s].
    """

    def __init__(self, writers: Writers, stall_s: float) -> None:
        self._writers = writers
        self._gate = Gate(0, writers.are, _OTHERS_HZ, _OTHERS_BURST)
        self._stalls = Stalls(stall_s)

    def listen(self, node: WiredNode, topic: str, callback: Callable[[PresenceMsg], None]) -> None:
        """Start to hear."""
        node.listen(
            PresenceMsg,
            topic,
            callback,
            qos.heartbeat(depth=_DEPTH),
            admits=self._gate.admits,
        )

    def spare(self, roster: Roster, now_s: float) -> None:
        """Keep those who may only not have been heard; to be called often."""
        if missed_s := self._stalls.missed_s(now_s):
            roster.excuse(missed_s, now_s)
        self._stalls.done(now_s)
        if self._gate.is_flooded(now_s, 2 * GONE_S):
            roster.spare(self._writers.are, now_s)
