"""What the planner hears of devices: who it is of, how much of it, and what silence means."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from codesign_ros.msg import DeviceProfile, Heartbeat
from codesign_ros.nodes.border.gate import Gate
from codesign_ros.nodes.identity.farewells import Farewells
from codesign_ros.nodes.identity.reachable import Reachable
from codesign_ros.nodes.identity.silences import Silences
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.device_messages import device_from_msg, heartbeat_from_msg
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.device import Device
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime

DEVICES, HEARTBEATS = "/codesign/devices", "/codesign/heartbeat"
# Messages of a fleet that may come at once, when a planner is started beside it.
_FLEET_DEPTH = 2048
# Those of nodes that cannot be reached: where more come, they are made up [1/s]. Announcements are
# long, and a device whose own was left out is called.
_OTHERS_ANNOUNCED_HZ, _OTHERS_BEATS_HZ = 50.0, 200.0
# Where a node's name begins in both [bytes]: behind the stamp.
_NAME_AT = 8
# What is left of a flood in queues is read by then [s].
_FLOOD_PASSES_S = 2.0

_News = Callable[[PlannerRuntime], str | None]


class DeviceNews:
    """Takes announcements and heartbeats, those of a flood within limits.

    Args:
        node: the planner.
        lock: held whenever the runtime is used.
        runtime: gives what is told of them; None as long as there is none.
    """

    def __init__(
        self,
        node: WiredNode,
        lock: threading.RLock,
        runtime: Callable[[], PlannerRuntime | None],
    ) -> None:
        self.reachable = Reachable(node)
        self._node = node
        self._lock = lock
        self._runtime = runtime
        self._farewells = Farewells(node, DEVICES, self._hear_device, self._refuse_goodbye)
        self._silences = Silences(node, DEVICES, self._tell)
        self._announcements = Gate(
            _NAME_AT, self._is_known, _OTHERS_ANNOUNCED_HZ, _FLEET_DEPTH, is_each_limited=False
        )
        self._beats = Gate(_NAME_AT, self._is_known, _OTHERS_BEATS_HZ, _FLEET_DEPTH)
        self._news: deque[_News] = deque()

    def listen(self) -> None:
        """Start to hear devices."""
        self._node.listen(
            DeviceProfile,
            DEVICES,
            self._on_device,
            qos.state(depth=_FLEET_DEPTH),
            admits=self._announcements.admits,
        )
        self._node.listen(
            Heartbeat,
            HEARTBEATS,
            self._on_heartbeat,
            qos.heartbeat(depth=_FLEET_DEPTH),
            admits=self._beats.admits,
        )

    def forget(self) -> None:
        """Forget what was not told yet."""
        self._news.clear()

    @property
    def left_out(self) -> dict[str, int]:
        """Messages that were not read, for /diagnostics."""
        gates = {"announcements": self._announcements, "heartbeats": self._beats}
        return {f"{name} left out": gate.left_out for name, gate in gates.items() if gate.left_out}

    def look(self) -> None:
        """Ask those who seem to be gone; to be called often, without the lock."""
        runtime = self._runtime()
        if runtime is not None and runtime.awaits_somebody:
            self.reachable.look()
        self._farewells.look()
        self._silences.look()

    def catch_up(self, silence_limit_s: float) -> None:
        """Tell the runtime what has come, and whose silence means nothing; the lock is held."""
        self._tell_news()
        now_s = time.monotonic()
        is_flooded = any(
            gate.is_flooded(now_s, silence_limit_s + _FLOOD_PASSES_S)
            for gate in (self._announcements, self._beats)
        )
        self._tell(lambda registry: self._silences.note(registry, now_s, is_flooded=is_flooded))

    def _on_device(self, msg: DeviceProfile) -> None:
        device = device_from_msg(msg)

        def take(runtime: PlannerRuntime) -> str | None:
            if runtime.registry.seems_to_leave(device):
                self._farewells.ask(device)
                return None
            now_s = time.monotonic()
            if self._farewells.withdraw(device):
                # It was away for a moment, and has no plan any more.
                runtime.hear(replace(device, state="inactive"), now_s)
            return runtime.hear(device, now_s)

        self._hear(take)

    def _hear_device(self, device: Device) -> None:
        def take(runtime: PlannerRuntime) -> str | None:
            # A new start may have taken its place meanwhile.
            is_news = runtime.registry.seems_to_leave(device)
            return runtime.hear(device, time.monotonic()) if is_news else None

        self._hear(take)

    def _refuse_goodbye(self, device: Device) -> None:
        why = f"{device.node} is active; it did not say itself that it is {device.state}"
        self._node.refused(DEVICES, device, why)

    def _on_heartbeat(self, msg: Heartbeat) -> None:
        beat = heartbeat_from_msg(msg)
        self._hear(lambda runtime: runtime.heartbeat(beat, time.monotonic()))

    def _hear(self, news: _News) -> None:
        """Take news; they wait where the lock is taken, for nothing else may on this thread."""
        self._news.append(news)
        if self._lock.acquire(blocking=False):
            try:
                self._tell_news()
            finally:
                self._lock.release()

    def _tell_news(self) -> None:
        """Tell the runtime what has come; the lock is held."""
        while self._news:
            news, runtime = self._news.popleft(), self._runtime()
            change = news(runtime) if runtime is not None else None
            if change:
                self._node.get_logger().info(change)

    def _tell(self, work: Callable[[Registry], None]) -> None:
        with self._lock:
            runtime = self._runtime()
            if runtime is not None:
                work(runtime.registry)

    def _is_known(self, name: str) -> bool:
        """Whether a node matters whose messages come: it is registered, or can be reached."""
        runtime = self._runtime()
        is_registered = runtime is not None and runtime.registry.registered(name) is not None
        return is_registered or name in self.reachable
