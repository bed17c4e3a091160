"""A node that watches a running system and steers it as a user would, for demo and tests."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from codesign_ros.msg import GroundTruth as GroundTruthMsg
from codesign_ros.msg import InferenceResult
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.base import DIAGNOSTICS_PERIOD_S
from codesign_ros.nodes.interface import qos, transport
from codesign_ros.nodes.interface.messages import (
    ground_truth_from_msg,
    plan_from_msg,
    result_from_msg,
    stamp_from,
)
from codesign_ros.nodes.loop import Loop
from codesign_ros.nodes.wiring import PATIENCE_S, WiredNode
from codesign_ros.runtime.messages import Result
from codesign_ros.srv import Solve
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError, unexpected
from codesign_ros.types.plan import Plan

# A server drops an answer to a client that it does not know yet, and DDS gives a client no sign of
# when that is over; hence clients are kept, and a new one waits so long [s].
_SETTLE_S = 0.3
# In so long every node says how it is [s].
_NEWS_S = 2.0 * DIAGNOSTICS_PERIOD_S

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


class Observer:
    """Collects what one robot publishes, with the time at which it arrived here [s, monotonic].

    Attributes:
        results: results in order of arrival, with their times.
        truths: what is truly in a frame by its stamp [ns], as the camera published it.
        plans: plans in order of arrival.
        diagnostics: last values by node name.
        messages: what each node said of itself last, beside those.

    Args:
        robot: the robot's namespace.
        domain_id: DDS domain; None = that of the environment.
    """

    def __init__(self, robot: str, domain_id: int | None = None) -> None:
        self.results: list[tuple[float, Result]] = []
        self.truths: dict[int, GroundTruth] = {}
        self.plans: list[tuple[float, Plan]] = []
        self.diagnostics: dict[str, dict[str, str]] = {}
        self.messages: dict[str, str] = {}
        self._robot = robot
        # Services that were called before.
        self._known: set[str] = set()
        self._known_lock = threading.Lock()
        self._context = Context()
        transport.check_domain(os.environ)
        rclpy.init(
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = WiredNode("observer", context=self._context, namespace=robot)
        everything = QoSProfile(depth=1000, reliability=qos.RELIABLE)
        subscribe = self._node.listen
        subscribe(InferenceResult, "result", self._on_result, everything)
        subscribe(GroundTruthMsg, "ground_truth", self._on_truth, everything)
        subscribe(PlanMsg, "/codesign/plan", self._on_plan, qos.state(depth=16))
        subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, everything)
        executor = SingleThreadedExecutor(context=self._context)
        self._loop = Loop(executor, self._context, self._on_end)
        self._loop.start([self._node])

    @property
    def node(self) -> WiredNode:
        """The ROS node, for more subscriptions and publishers."""
        return self._node

    def close(self) -> None:
        """Leave the graph."""
        self._loop.stop([self._node], PATIENCE_S)
        self._node.destroy_node()
        self._context.try_shutdown()

    def knows(self, topic: str) -> bool:
        """Whether somebody is known to send on a topic of the robot.

        The sender may know of us before, and what it sends until then is missed.
        """
        return self._node.count_publishers(topic) > 0

    # Steering

    def change_state(self, node: str, transition: str, timeout_s: float = 30.0) -> None:
        """Ask a lifecycle node for a transition, as `ros2 lifecycle set` does.

        Raises:
            CodesignError: the node is not there, refuses, or does not answer in time; where it
                refuses the text has what it says of itself then.
        """
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        if not self.call(ChangeState, f"{node}/change_state", request, timeout_s).success:
            self.messages.pop(node, None)
            with contextlib.suppress(CodesignError):
                self.wait_until(lambda: node in self.messages, f"news of {node}", _NEWS_S)
            news = f"; it is {self.messages[node]}" if node in self.messages else ""
            raise CodesignError(f"{node} did not {transition}{news}")

    def set_parameter(self, node: str, name: str, value: Any, timeout_s: float = 30.0) -> None:
        """Set a parameter of a node, as `ros2 param set` does.

        Raises:
            CodesignError: the node is not there, refuses, or does not answer in time.
        """
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        answer = self.call(SetParameters, f"{node}/set_parameters", request, timeout_s)
        if not answer.results[0].successful:
            raise CodesignError(f"{node} refused {name}: {answer.results[0].reason}")

    def solve(self, timeout_s: float = 30.0, **what_if: Any) -> Solve.Response:
        """Ask the planner what it would do; see srv/Solve.srv.

        Raises:
            CodesignError: it cannot tell, or does not answer in time.
        """
        request = Solve.Request(**{"robot": self._robot, "lambda_1": -1.0, **what_if})
        answer: Solve.Response = self.call(Solve, "/codesign/solve", request, timeout_s)
        if not answer.ok:
            raise CodesignError(answer.message)
        return answer

    def call(self, kind: Any, name: str, request: Any, timeout_s: float) -> Any:
        """Call a service.

        Raises:
            CodesignError: the service is not there or does not answer in time.
        """
        with self._known_lock:
            is_new = name not in self._known
            self._known.add(name)
        client = self._node.client(kind, name)
        if not client.wait_for_service(timeout_s):
            raise CodesignError(f"service {name} is not there")
        if is_new:
            time.sleep(_SETTLE_S)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout_s):
            client.remove_pending_request(future)
            raise CodesignError(f"service {name} does not answer")
        return future.result()

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition on what was observed.

        Raises:
            CodesignError: it did not come true in time; the text says ``what`` was awaited.
        """
        give_up_s = time.monotonic() + timeout_s
        while not condition():
            if self._node.failure:
                raise CodesignError(self._node.failure)
            if time.monotonic() > give_up_s:
                raise CodesignError(f"waited {timeout_s:.0f} s in vain for {what}")
            time.sleep(0.02)

    # News

    def _on_end(self, error: Exception | None) -> None:
        if error is not None:
            self._node.fail(unexpected(error))

    def _on_result(self, msg: InferenceResult) -> None:
        self.results.append((time.monotonic(), result_from_msg(msg)))

    def _on_truth(self, msg: GroundTruthMsg) -> None:
        self.truths[stamp_from(msg.header).stamp_ns] = ground_truth_from_msg(msg)

    def _on_plan(self, msg: PlanMsg) -> None:
        if msg.robot == self._robot:
            self.plans.append((time.monotonic(), plan_from_msg(msg)))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self.diagnostics[status.name] = {pair.key: pair.value for pair in status.values}
            self.messages[status.name] = status.message
