"""What all four nodes share: transitions that explain failures, and diagnostics."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from codesign_ros.nodes.border.version import Versions
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.params import Param, Params
from codesign_ros.nodes.wiring import PATIENCE_S, WiredNode
from codesign_ros.nodes.workers import Worker
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

_T = TypeVar("_T")

DIAGNOSTICS_PERIOD_S = 1.0

AUTOSTART = Param("autostart", True, "configure and activate when the process starts", fixed=True)


def _names_in_use() -> set[str]:
    """Names of the parameters of all nodes of the package, as its own parameter file has them."""
    content = yaml.safe_load((resource_path("config") / "split_inference.yaml").read_text())
    sections = [section["ros__parameters"] for section in content.values()]
    return {"robots", *(name for section in sections for name in section)}


def _unless_refused(change: Callable[[], _T], refused: _T) -> _T:
    """Make a transition; return ``refused`` where the node's state does not allow it.

    Newer releases of rclpy say so themselves, older ones raise (rclpy issue 1209).
    """
    try:
        return change()
    except rclpy_implementation.RCLError:
        return refused


class CodesignNode(WiredNode, LifecycleNode):
    """A lifecycle node. Subclasses fill in ``configure``, ``activate`` and their opposites.

    Transitions take seconds; they run on a thread of their own, one after another.

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

    # Others work with it frame by frame: a process that is to end has it deactivated first, while
    # its callbacks still run.
    is_relied_on = False

    def __init__(
        self,
        name: str,
        params: Sequence[Param],
        namespace: str = "",
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(name, namespace=namespace, cli_args=list(arguments))
        self.starting = False
        # Set once the node is made: one whose parameters are refused goes through no transition.
        self.is_made = False
        # Set where a transition would not end, so that the node cannot be destroyed.
        self.is_left = False
        # Set when the node cannot go on; `main` then ends the process with the line ``failure``.
        self.done = threading.Event()
        self.state_label = "unconfigured"
        # The state to which a transition that runs leads; empty = none runs.
        self._next_label = ""
        self._transitions = Worker(f"{name}-transitions")
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._changed_by(service.callback)
                self.defer(service, self._transitions)
        self.params = Params(self, (AUTOSTART, *params))
        for line in self.params.check_given(_names_in_use):
            self.get_logger().warning(line)
        # Set by those who work with nodes of other machines.
        self.versions: Versions | None = None
        self._diagnostics = self.advertise(DiagnosticArray, "/diagnostics", qos.diagnostics())
        self.every(DIAGNOSTICS_PERIOD_S, self.publish_diagnostics)

    # For subclasses

    def configure(self) -> None:
        """Open what the node needs; called on the configure transition."""

    def activate(self) -> None:
        """Start working."""

    def deactivate(self) -> None:
        """Stop working; what was accepted is finished or accounted for."""

    def cleanup(self) -> None:
        """Let go of what ``configure`` opened; its topics go by themselves."""

    def announce(self) -> None:
        """Tell others that the state changed."""

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Level, message and values for /diagnostics."""
        return DiagnosticStatus.OK, self.state_label, {}

    def status(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """As ``diagnostics``, but what failed last stands in front until a transition succeeds.

        Nodes of other versions make it a warning. While a transition runs its end is a value.
        """
        level, message, values = self.diagnostics()
        if self._next_label:
            values = {**values, "on the way to": self._next_label}
        if self.failure:
            return DiagnosticStatus.ERROR, f"{self.state_label}: {self.failure}", values
        if self.versions and (others := self.versions.mismatches(time.monotonic())):
            return max(level, DiagnosticStatus.WARN), "; ".join([message, *others]), values
        return level, message, values

    def fail(self, reason: str) -> None:
        """End the process with one line; for mistakes that show only after the start."""
        super().fail(reason)
        self.done.set()

    # Lifecycle

    def change(
        self, trigger: Callable[[], TransitionCallbackReturn]
    ) -> Future[TransitionCallbackReturn]:
        """Have one of rclpy's ``trigger_*`` done after the transitions that others asked for."""
        refused = TransitionCallbackReturn.ERROR
        return self._transitions.submit(lambda: _unless_refused(trigger, refused))

    @staticmethod
    def _changed_by(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """What the service does for a transition; a response is one of failure to begin with."""
        return lambda request, response: _unless_refused(
            lambda: answer(request, response), response
        )

    def destroy_node(self) -> None:
        """Go through the shutdown transition where that can be, and let go of everything."""
        # An engine that is being built is left alone, and the node with it.
        self.is_left = not self._transitions.close(PATIENCE_S)
        if not self.is_left:
            if self.is_made and self.state_label != "finalized":
                self.trigger_shutdown()
            super().destroy_node()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure."""
        self.keep()
        returned = self._transition(self.configure, "inactive")
        if returned is TransitionCallbackReturn.FAILURE:
            self._cleanup()
        return returned

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate."""
        returned = self._transition(self.activate, "active")
        if returned is TransitionCallbackReturn.SUCCESS:
            super().on_activate(state)
            for line in self.params.without_topic(self.topics()):
                self.get_logger().warning(line)
        return returned

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        returned = self._transition(self.deactivate, "inactive")
        super().on_deactivate(state)
        return returned

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        return self._transition(self._cleanup, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Shut down from any state."""
        if self.state_label == "active":
            self._transition(self.deactivate, "inactive")
        if self.state_label == "inactive":
            self._transition(self._cleanup, "unconfigured")
        return self._transition(lambda: None, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after an unexpected error."""
        failure = self.failure
        returned = self._transition(self._cleanup, "unconfigured")
        if returned is not TransitionCallbackReturn.SUCCESS:
            self.state_label = "finalized"
        self.failure = failure  # what went wrong first
        return returned

    def _cleanup(self) -> None:
        """Clean up, too after a ``configure`` that failed half-way."""
        self.cleanup()
        self.disconnect()

    @contextlib.contextmanager
    def _on_the_way(self, state_label: str) -> Iterator[None]:
        self._next_label = state_label
        try:
            yield
        finally:
            self._next_label = ""

    def _transition(self, work: Callable[[], None], state_label: str) -> TransitionCallbackReturn:
        try:
            with self._on_the_way(state_label):
                work()
        except CodesignError as error:
            self.failure = str(error)
            if not self.starting:  # else `run` ends the process with this line
                self.get_logger().error(str(error))
            self.publish_diagnostics()
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            # rclpy swallows what a transition raises; a defect must show.
            self.failure = self.defect(error)
            return TransitionCallbackReturn.ERROR
        self.state_label = state_label
        if state_label == "active":
            self.get_logger().info("active")
        if not self.done.is_set():
            self.failure = None
        self.announce()
        self.publish_diagnostics()
        return TransitionCallbackReturn.SUCCESS

    # Diagnostics

    def publish_diagnostics(self) -> None:
        """Publish this node's status on /diagnostics."""
        level, message, values = self.status()
        listeners = {f"listeners {topic}": count for topic, count in self.listeners().items()}
        status = DiagnosticStatus(
            level=level,
            name=self.get_fully_qualified_name(),
            message=message,
            hardware_id=self.get_namespace(),
            values=[
                KeyValue(key=key, value=str(value))
                for key, value in {**values, **self.refusals.values(), **listeners}.items()
            ],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)
