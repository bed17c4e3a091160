"""What all four nodes share: transitions that explain failures, autostart, clean shutdown."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription

from codesign_ros.nodes.interface.params import Param, Params
from codesign_ros.types import CodesignError, one_line

DIAGNOSTICS_PERIOD_S = 1.0

AUTOSTART = Param("autostart", True, "configure and activate when the process starts", fixed=True)


class CodesignNode(LifecycleNode):
    """A lifecycle node. Subclasses fill in ``configure``, ``activate`` and their opposites.

    Those may raise CodesignError: the transition then fails and its one line is logged.

    Args:
        name: default node name.
        params: the node's parameters beside ``autostart``.
        namespace: default namespace.
        arguments: arguments as on the command line, for this node alone; they go before those of
            the process.

    Raises:
        CodesignError: a parameter has a value that is not allowed.
    """

    def __init__(
        self,
        name: str,
        params: Sequence[Param],
        namespace: str = "",
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(name, namespace=namespace, cli_args=list(arguments))
        # Set when the node cannot go on; `main` then ends the process with this one line.
        self.failure: str | None = None
        self.starting = False
        self.done = threading.Event()
        self.state_label = "unconfigured"
        self.params = Params(self, (AUTOSTART, *params))
        self._advertised: dict[str, Publisher] = {}
        self._advertised_lock = threading.Lock()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Own groups: a transition that takes seconds must not hold up signs of life.
        self.timers_group = MutuallyExclusiveCallbackGroup()
        self.create_timer(DIAGNOSTICS_PERIOD_S, self.publish_diagnostics, self.timers_group)

    # For subclasses

    def configure(self) -> None:
        """Open what the node needs; called on the configure transition."""

    def activate(self) -> None:
        """Start working."""

    def deactivate(self) -> None:
        """Stop working; what was accepted is finished or accounted for."""

    def cleanup(self) -> None:
        """Let go of what ``configure`` opened."""

    def announce(self) -> None:
        """Tell others that the state changed."""

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Level, message and values for /diagnostics."""
        return DiagnosticStatus.OK, self.state_label, {}

    def status(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """As ``diagnostics``, but what failed last stands in front until a transition succeeds."""
        level, message, values = self.diagnostics()
        if self.failure:
            return DiagnosticStatus.ERROR, f"{self.state_label}: {self.failure}", values
        return level, message, values

    def fail(self, reason: str) -> None:
        """End the process with one line; for mistakes that show only after the start."""
        self.failure = reason
        self.done.set()

    # Topics

    def advertise(self, kind: Any, topic: str, profile: QoSProfile) -> Publisher:
        """Create a publisher whose quality of service the parameters ``qos_overrides.*`` change.

        /diagnostics says how many listen to it.

        Raises:
            CodesignError: one of them has a value that cannot be used.
        """
        try:
            publisher = self.create_publisher(
                kind,
                topic,
                profile,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except Exception as error:
            raise _qos_mistake(topic, error) from None
        with self._advertised_lock:
            self._advertised[topic] = publisher
        return publisher

    def withdraw(self, topic: str) -> None:
        """Destroy the publisher that ``advertise`` created."""
        with self._advertised_lock:
            self.destroy_publisher(self._advertised.pop(topic))

    def listen(
        self, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> Subscription:
        """Create a subscription, likewise overridable, whose callbacks wait for no others.

        Raises:
            CodesignError: one of the overrides has a value that cannot be used.
        """
        try:
            return self.create_subscription(
                kind,
                topic,
                callback,
                profile,
                callback_group=MutuallyExclusiveCallbackGroup(),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except Exception as error:
            raise _qos_mistake(topic, error) from None

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure."""
        return self._transition(self.configure, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate."""
        returned = self._transition(self.activate, "active")
        if returned is TransitionCallbackReturn.SUCCESS:
            super().on_activate(state)
        return returned

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        returned = self._transition(self.deactivate, "inactive")
        super().on_deactivate(state)
        return returned

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        return self._transition(self.cleanup, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Shut down from any state."""
        if self.state_label == "active":
            self._transition(self.deactivate, "inactive")
        if self.state_label == "inactive":
            self._transition(self.cleanup, "unconfigured")
        return self._transition(lambda: None, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after an unexpected error."""
        failure = self.failure
        returned = self._transition(self.cleanup, "unconfigured")
        if returned is not TransitionCallbackReturn.SUCCESS:
            self.state_label = "finalized"
        self.failure = failure  # what went wrong first
        return returned

    def _transition(self, work: Callable[[], None], state_label: str) -> TransitionCallbackReturn:
        try:
            work()
        except CodesignError as error:
            self.failure = str(error)
            if not self.starting:  # else `run` ends the process with this line
                self.get_logger().error(str(error))
            self.publish_diagnostics()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            # rclpy swallows what a transition raises; a defect must show.
            self.get_logger().fatal(traceback.format_exc())
            self.failure = f"unexpected {type(error).__name__}: {error}"
            return TransitionCallbackReturn.ERROR
        self.state_label = state_label
        if not self.done.is_set():
            self.failure = None
        self.announce()
        self.publish_diagnostics()
        return TransitionCallbackReturn.SUCCESS

    # Diagnostics

    def publish_diagnostics(self) -> None:
        """Publish this node's status on /diagnostics."""
        level, message, values = self.status()
        with self._advertised_lock:
            listeners = {
                f"listeners {topic}": publisher.get_subscription_count()
                for topic, publisher in self._advertised.items()
            }
        status = DiagnosticStatus(
            level=level,
            name=self.get_fully_qualified_name(),
            message=message,
            hardware_id=self.get_namespace(),
            values=[
                KeyValue(key=key, value=str(value))
                for key, value in {**values, **listeners}.items()
            ],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def _qos_mistake(topic: str, error: Exception) -> CodesignError:
    # rclpy has an exception class for each kind of mistake, some of them private.
    why = one_line(error)
    return CodesignError(f"topic {topic}, parameters qos_overrides.*: {why}")


def run(make_node: Callable[[], CodesignNode], threads: int = 4) -> int:
    """Run one node as a process; see ``run_together``."""
    return run_together(lambda: [make_node()], threads)


def run_together(make_nodes: Callable[[], Sequence[CodesignNode]], threads: int = 4) -> int:
    """Run nodes as one process until SIGINT, SIGTERM, or until every one ended by ``fail``.

    A node that cannot start says so in one line; the others go on, and it may be configured again.

    Args:
        make_nodes: makes them, at least one; may raise CodesignError.
        threads: threads for each.

    Returns:
        The exit status: 0, or 1 after a failure of all, whose lines went to standard error.
    """
    try:
        # Our own handlers: rclpy's end the context at once, and then nobody could be told goodbye.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        # Arguments or a parameter file that ROS cannot read; its exception classes are private.
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        nodes = make_nodes()
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        rclpy.shutdown()
        return 1
    executor = MultiThreadedExecutor(num_threads=threads * len(nodes))
    for node in nodes:
        executor.add_node(node)
    _start(nodes)
    while not interrupted.is_set() and not all(node.done.is_set() for node in nodes):
        executor.spin_once(timeout_sec=0.2)
    failed = all(node.done.is_set() and node.failure for node in nodes)
    for node in nodes if failed else ():
        name = f"{node.get_fully_qualified_name()}: " if len(nodes) > 1 else ""
        print(f"error: {name}{node.failure}", file=sys.stderr)
    # First the callbacks end, those in the executor's queue too, then the nodes: a callback must
    # not meet destroyed entities.
    for node in nodes:
        executor.remove_node(node)
    executor.spin_once(timeout_sec=0.1)
    executor.shutdown(timeout_sec=1.0)
    for node in nodes:
        if node.state_label != "finalized":
            node.trigger_shutdown()
        node.destroy_node()
    rclpy.shutdown()
    return 1 if failed else 0


def _start(nodes: Sequence[CodesignNode]) -> None:
    """Configure and activate those that start by themselves; if none can go on, each ends.

    All are configured before the first is active: from then on it has to give signs of life.
    """
    succeeded = TransitionCallbackReturn.SUCCESS
    starting = [node for node in nodes if node.params["autostart"]]
    for node in starting:
        node.starting = True
    configured = [node for node in starting if node.trigger_configure() is succeeded]
    started = [node for node in configured if node.trigger_activate() is succeeded]
    failed = [node for node in starting if node not in started]
    for node in starting:
        node.starting = False
    for node in failed:
        if len(failed) == len(nodes):
            node.done.set()
        else:
            node.get_logger().error(f"{node.get_fully_qualified_name()}: {node.failure}")
