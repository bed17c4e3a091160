"""Devices that seem to leave are asked whether they do: a goodbye can be written by anybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.client import Client

from codesign_ros.nodes.identity.writers import Writers
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.device import Device

# Who is not found within so long has left as it said [s]: the two ends of a service take a moment
# to find each other.
_NOT_THERE_S = 2.0
# Likewise who is there and does not answer [s]; milliseconds where the machine is not busy.
_NO_ANSWER_S = 5.0


@dataclass
class _Farewell:
    device: Device
    since_s: float
    answer: Any = None


class Farewells:
    """Goodbyes that wait until the devices in whose names they came were asked for their state.

    Where two nodes have the name, either may answer, and the goodbye is believed.

    Args:
        node: the planner.
        topic: on which devices announce themselves.
        take: told of a device that leaves, as it announced itself last.
        refuse: told of one that does not: it is active.
    """

    def __init__(
        self,
        node: WiredNode,
        topic: str,
        take: Callable[[Device], None],
        refuse: Callable[[Device], None],
    ) -> None:
        self._node = node
        self._writers = Writers(node, topic)
        self._take = take
        self._refuse = refuse
        self._lock = threading.Lock()
        self._pending: dict[str, _Farewell] = {}

    def ask(self, device: Device) -> None:
        """Take an announcement after which a device would not be active any more."""
        with self._lock:
            known = self._pending.setdefault(device.node, _Farewell(device, time.monotonic()))
            known.device = device

    def withdraw(self, device: Device) -> Device | None:
        """Note that a device says that it is active; returns its goodbye, if one waits."""
        with self._lock:
            known = self._pending.get(device.node)
            if known is None or known.device.session != device.session:
                return None
            del self._pending[device.node]
            return known.device

    def look(self) -> None:
        """Ask, and see who answered; to be called often, without a lock of the caller's."""
        with self._lock:
            pending = list(self._pending.values())
        for farewell in pending:
            is_active = self._is_active(farewell)
            patience_s = _NOT_THERE_S if farewell.answer is None else _NO_ANSWER_S
            if is_active is None and time.monotonic() - farewell.since_s <= patience_s:
                continue
            with self._lock:
                if self._pending.get(farewell.device.node) is not farewell:
                    continue
                del self._pending[farewell.device.node]
            if farewell.answer is not None:
                self._client(farewell).remove_pending_request(farewell.answer)
            (self._refuse if is_active else self._take)(farewell.device)

    def _is_active(self, farewell: _Farewell) -> bool | None:
        """What the device answers; None as long as it does not."""
        if self._writers.are(farewell.device.node, 2):
            return False
        is_there = self._client(farewell).service_is_ready()
        if farewell.answer is None:
            if is_there:
                farewell.answer = self._client(farewell).call_async(GetState.Request())
            return None
        if not farewell.answer.done():
            # Who was there when it was asked, and is no more, left without an answer.
            return None if is_there else False
        return bool(farewell.answer.result().current_state.id == State.PRIMARY_STATE_ACTIVE)

    def _client(self, farewell: _Farewell) -> Client:
        return self._node.client(GetState, f"{farewell.device.node}/get_state")
