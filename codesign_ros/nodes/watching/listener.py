"""A node that only listens: to what every node of the package says, and to who is there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from codesign_ros.msg import DeviceProfile, InferenceResult
from codesign_ros.msg import Heartbeat as HeartbeatMsg
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.border.version import (
    DEVICES_TOPIC,
    PLANNER_TOPIC,
    our_version,
    read_version,
)
from codesign_ros.nodes.interface import qos, transport
from codesign_ros.nodes.interface.device_messages import device_from_msg, heartbeat_from_msg
from codesign_ros.nodes.interface.messages import plan_from_msg, result_from_msg, time_to_ns
from codesign_ros.nodes.loop import Loop, make_executor
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.news import (
    Endpoint,
    Graph,
    Level,
    Mismatch,
    News,
    NodeStatus,
    SaidVersion,
    Unreadable,
)
from codesign_ros.types.errors import CodesignError, one_line

# What is heard in a burst: announcements and heartbeats of some hundred robots.
_DEPTH = 1000
_PATIENCE_S = 2.0
_RESULT = "codesign_ros/msg/InferenceResult"
# Types whose topics are looked at beside those of the package.
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_DIAGNOSTICS = "/diagnostics"


class Listener:
    """Hears all robots of a domain. It holds nobody up: what comes often is best effort.

    Args:
        purpose: what its node is called, with the process's number behind it.

    Raises:
        CodesignError: ROS cannot be started, e.g. for a domain that is none.
    """

    def __init__(self, purpose: str) -> None:
        self._news: SimpleQueue[News] = SimpleQueue()
        self._followed: set[str] = set()
        self._context = Context()
        transport.check_domain(os.environ)
        try:
            rclpy.init(
                args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO
            )
            self._node = _ListeningNode(
                lambda topic, why: self._note(topic, None, Unreadable(why)),
                f"{purpose}_{os.getpid()}",
                context=self._context,
                use_global_arguments=False,
                enable_rosout=False,
                start_parameter_services=False,
            )
        except Exception as error:  # rclpy's classes of exceptions are private
            raise CodesignError(f"ROS cannot be started here: {one_line(error)}") from None
        lasting = QoSProfile(depth=_DEPTH, reliability=qos.RELIABLE, durability=qos.TRANSIENT_LOCAL)
        passing = QoSProfile(depth=_DEPTH, reliability=qos.BEST_EFFORT)
        self._passing = passing
        self._listen(DeviceProfile, "/codesign/devices", lasting, self._device)
        self._listen(HeartbeatMsg, "/codesign/heartbeat", passing, self._heartbeat)
        self._listen(PlanMsg, "/codesign/plan", lasting, self._plan)
        self._listen(DiagnosticArray, _DIAGNOSTICS, passing, self._diagnostics)
        for topic in (DEVICES_TOPIC, PLANNER_TOPIC):
            self._listen(String, topic, lasting, self._version)
        # The executor may take the handler of Ctrl-C (see ``make_executor``).
        handler = signal.getsignal(signal.SIGINT)
        executor = make_executor(self._context)
        signal.signal(signal.SIGINT, handler)
        self._loop = Loop(executor, self._context, lambda _: None)
        self._loop.start([self._node])

    def close(self) -> None:
        """Leave the graph."""
        self._loop.stop([self._node], _PATIENCE_S)
        self._node.destroy_node()
        self._context.try_shutdown()

    def news(self) -> Iterator[News]:
        """What came since the last call, in order of arrival."""
        while True:
            try:
                yield self._news.get_nowait()
            except Empty:
                return

    def follow_results(self) -> None:
        """Listen to the results of every robot that is known by now."""
        for topic, types in self._node.get_topic_names_and_types():
            if _RESULT in types and topic not in self._followed:
                self._followed.add(topic)
                self._listen(InferenceResult, topic, self._passing, self._result)

    def graph(self) -> Graph:
        """Who is there by now."""
        own = self._node.get_fully_qualified_name()
        endpoints, mismatches = [], []
        own_hashes: dict[str, str] = {}
        for topic, types in self._node.get_topic_names_and_types():
            if not any(_concerns(name) for name in types) and topic != _DIAGNOSTICS:
                continue
            publishers = self._node.get_publishers_info_by_topic(topic)
            subscriptions = self._node.get_subscriptions_info_by_topic(topic)
            for infos, publishes in ((publishers, True), (subscriptions, False)):
                for info in infos:
                    endpoint = _endpoint(info, topic, publishes)
                    if endpoint.node == own:
                        own_hashes[endpoint.message] = endpoint.type_hash
                    else:
                        endpoints.append(endpoint)
            mismatches += _mismatches(topic, publishers, subscriptions)
        names = self._node.get_node_names_and_namespaces()
        nodes = sorted(_full_name(namespace, name) for name, namespace in names)
        return Graph(
            nodes=tuple(node for node in nodes if node != own),
            endpoints=tuple(endpoints),
            mismatches=tuple(mismatches),
            own_hashes=own_hashes,
            middleware=rclpy.get_rmw_implementation_identifier(),
            own_version=SaidVersion(own, *our_version()),
        )

    # What comes

    def _listen(
        self, kind: Any, topic: str, profile: QoSProfile, read: Callable[[Any, str], None]
    ) -> None:
        self._node.listen(kind, topic, lambda msg: read(msg, topic), profile)

    def _note(self, topic: str, stamp: Time | None, what: Any) -> None:
        stamp_ns = 0 if stamp is None else time_to_ns(stamp)
        now_ns = self._node.get_clock().now().nanoseconds
        self._news.put(News(time.monotonic(), now_ns, stamp_ns, topic, what))

    def _device(self, msg: DeviceProfile, topic: str) -> None:
        # No stamp: late listeners hear it too, long after it was sent.
        self._note(topic, None, device_from_msg(msg))

    def _heartbeat(self, msg: HeartbeatMsg, topic: str) -> None:
        self._note(topic, msg.stamp, heartbeat_from_msg(msg))

    def _plan(self, msg: PlanMsg, topic: str) -> None:
        self._note(topic, None, plan_from_msg(msg))

    def _result(self, msg: InferenceResult, topic: str) -> None:
        self._note(topic, None, result_from_msg(msg))

    def _version(self, msg: String, topic: str) -> None:
        said = read_version(msg.data)
        if said is not None:
            node, version = said
            self._note(topic, None, SaidVersion(node, *version))

    def _diagnostics(self, msg: DiagnosticArray, topic: str) -> None:
        for status in msg.status:
            level = int.from_bytes(status.level, "little")
            # Others write there too; ours are named by their nodes.
            if status.name.rpartition("/")[0] != status.hardware_id.rstrip("/"):
                continue
            values = {pair.key: pair.value for pair in status.values}
            known = Level(level) if level in list(Level) else Level.ERROR
            self._note(
                topic, msg.header.stamp, NodeStatus(status.name, known, status.message, values)
            )


class _ListeningNode(WiredNode):
    """Tells of refused messages instead of logging them: they are news too.

    Args:
        on_refused: takes the topic and why, one line.
        name: of the node.
        options: see ``WiredNode``.
    """

    def __init__(self, on_refused: Callable[[str, str], None], name: str, **options: Any) -> None:
        self._on_refused = on_refused
        super().__init__(name, **options)

    def refused(self, topic: str, msg: Any, why: str) -> None:
        """Tell of a message that was refused."""
        self._on_refused(topic, why)


def _concerns(message: str) -> bool:
    return message.startswith("codesign_ros/") or message in _IMAGES


def _full_name(namespace: str, name: str) -> str:
    return f"{namespace.rstrip('/')}/{name}"


def _endpoint(info: Any, topic: str, publishes: bool) -> Endpoint:
    return Endpoint(
        node=_full_name(info.node_namespace, info.node_name),
        topic=topic,
        publishes=publishes,
        message=info.topic_type,
        type_hash=str(getattr(info, "topic_type_hash", "")),
        gid=bytes(info.endpoint_gid).hex(),
    )


def _mismatches(topic: str, publishers: list[Any], subscriptions: list[Any]) -> list[Mismatch]:
    found = []
    for publisher in publishers:
        for subscription in subscriptions:
            fit, why = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
            if fit == QoSCompatibility.ERROR:
                found.append(
                    Mismatch(
                        topic,
                        _full_name(publisher.node_namespace, publisher.node_name),
                        _full_name(subscription.node_namespace, subscription.node_name),
                        one_line(why),
                    )
                )
    return found
