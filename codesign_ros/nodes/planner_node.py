"""The planner: hears who is there, solves, and leads head and tail from plan to plan."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.subscription import Subscription

from codesign_ros.bundle import Bundle
from codesign_ros.cost.devices import load_devices
from codesign_ros.cost.model import MODES
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.msg import DeviceProfile
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes import qos
from codesign_ros.nodes.base import CodesignNode, run
from codesign_ros.nodes.conversions import device_from_msg, plan_to_msg
from codesign_ros.nodes.device_node import open_bundle
from codesign_ros.nodes.events import SubscriptionEventCallbacks
from codesign_ros.nodes.params import Param
from codesign_ros.planning.objective import Objective, parse_objective
from codesign_ros.resources import resource_path
from codesign_ros.runtime.planner import PlannerRuntime, PlannerSettings
from codesign_ros.runtime.registry import Registry
from codesign_ros.runtime.values import unexpected
from codesign_ros.srv import CommitPlan, PreparePlan, Solve
from codesign_ros.types import PRECISIONS, CodesignError, Merge, Plan, Structure
from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS

TICK_PERIOD_S = 0.05
# Building the engines of a plan takes a fraction of a second when the cache is warm; on a slow
# device that exports the network first it takes several.
SERVICE_TIMEOUT_S = 30.0
# After a plan that could not be put in force; longer than the time between two heartbeats [s].
RETRY_S = 1.0

_DEFAULT = PlannerSettings()
SOLVE_PARAMS = (
    Param("mode", _DEFAULT.mode, "cost model", choices=MODES),
    Param(
        "objective",
        _DEFAULT.objective.value,
        "time that counts in Eq. 11: of one frame, or between two results of the pipeline",
        choices=tuple(objective.value for objective in Objective),
    ),
    Param(
        "lambda_1",
        _DEFAULT.lambda_1,
        "weight of the accuracy loss in Eq. 11 [s per unit of accuracy]: 1.0 accepts 10 ms more "
        "for 0.01 of accuracy",
        low=0.0,
        high=1e6,
    ),
    Param(
        "structures",
        [structure.value for structure in _DEFAULT.structures],
        "structures that head and tail may have",
        choices=tuple(structure.value for structure in Structure),
    ),
    Param(
        "merges",
        [merge.value for merge in _DEFAULT.merges],
        "what may happen to branches that do not stay",
        choices=tuple(merge.value for merge in Merge),
    ),
    Param(
        "codecs",
        list(_DEFAULT.codecs),
        "codecs for tensors (cuts 1 to N-1)",
        choices=TENSOR_CODECS,
    ),
    Param(
        "frame_codecs",
        list(_DEFAULT.frame_codecs),
        "codecs for the frame (cut 0)",
        choices=FRAME_CODECS,
    ),
    Param(
        "precisions",
        list(_DEFAULT.precisions),
        "numeric precisions that both halves may have; those that head and tail have timed, see "
        "their parameter precisions",
        choices=PRECISIONS,
    ),
    Param(
        "link_bps",
        _DEFAULT.link_bps,
        "rate of the uplink to assume until the head has measured it [bit/s]",
        low=1.0,
        high=1e12,
    ),
    Param(
        "link_band",
        _DEFAULT.link_band,
        "solve again when the measured rate is so many times off the planned one",
        low=1.01,
        high=100.0,
    ),
    Param(
        "debounce_s",
        _DEFAULT.debounce_s,
        "wait so long for more news before solving [s]",
        low=0.0,
        high=10.0,
    ),
)
PARAMS = (
    Param(
        "bundle", "", "directory of the model bundle; empty = the one that comes with the package"
    ),
    Param(
        "lease_s",
        10.0,
        "a device that is silent for so long is gone, even if DDS still sees it [s]",
        low=1.0,
        high=600.0,
    ),
    *SOLVE_PARAMS,
)
# Once DDS has lost a writer, the device whose heartbeats (every 0.5 s) have been missing for so
# long is the one [s].
SILENCE_S = 1.2


class PlannerNode(CodesignNode):
    """Solves the co-design problem whenever something changes; see ``PlannerRuntime``."""

    def __init__(self) -> None:
        super().__init__("planner", PARAMS, namespace="/codesign")
        self._lock = threading.RLock()
        self._runtime: PlannerRuntime | None = None
        # Why a robot has no new plan, one line each.
        self._failures: dict[str, str] = {}
        self._calls = ReentrantCallbackGroup()
        self._service_clients: dict[tuple[str, str], Client] = {}
        self._plans = self.create_publisher(PlanMsg, "/codesign/plan", qos.state(depth=16))
        self._news = MutuallyExclusiveCallbackGroup()
        self._subscriptions_to_devices: list[Subscription] = []
        self.create_service(Solve, "/codesign/solve", self._on_solve, callback_group=self._calls)
        self.create_timer(TICK_PERIOD_S, self._tick, callback_group=self._news)
        self.params.when_set(self._on_parameters)
        # Leading a plan through prepare and commit waits for services; it has a thread of its own.
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._worker: threading.Thread | None = None

    def configure(self) -> None:
        """Open the bundle and start to hear devices."""
        bundle = open_bundle(self.params["bundle"])
        devices = load_devices(resource_path("config") / "devices.yaml")
        registry = Registry(self.params["lease_s"], SILENCE_S)
        with self._lock:
            self._runtime = PlannerRuntime(
                bundle, devices, self._settings({}), registry, lambda: profile_of(bundle)
            )
        # Only now: announcements are heard once, those of devices that were here before us too.
        self._subscriptions_to_devices = [
            self.create_subscription(
                DeviceProfile,
                "/codesign/devices",
                self._on_device,
                qos.state(depth=64),
                callback_group=self._news,
                event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_liveliness),
            ),
            self.create_subscription(
                DeviceProfile,
                "/codesign/heartbeat",
                self._on_heartbeat,
                qos.heartbeat(),
                callback_group=self._news,
            ),
        ]

    def activate(self) -> None:
        """Start to solve and to lead."""
        self._stopping.clear()
        self._worker = threading.Thread(target=self._lead, name="planner", daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        """Stop solving; the plans in force stay."""
        self._stopping.set()
        self._wake.set()
        if self._worker is not None:
            self._worker.join()
        with self._lock:
            self._failures.clear()  # they are tried again after the next start

    def cleanup(self) -> None:
        """Forget the devices."""
        for subscription in self._subscriptions_to_devices:
            self.destroy_subscription(subscription)
        self._subscriptions_to_devices = []
        with self._lock:
            self._runtime = None

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Devices, plans in force, and what stands in the way of others."""
        with self._lock:
            runtime = self._runtime
            if runtime is None:
                return super().diagnostics()
            values: dict[str, Any] = {"solved": runtime.solved}
            for device in runtime.registry.devices:
                values[f"device {device.node}"] = device.state
            for robot, plan in runtime.plans.items():
                values[f"plan {robot}"] = (
                    f"epoch {plan.epoch}, cut {plan.cut}, served by "
                    f"{plan.served_by or 'the robot alone'}: {plan.reason}"
                )
            problems = [*self._failures.values(), *runtime.foreign_tails()]
        if problems:
            return DiagnosticStatus.WARN, "; ".join(problems), values
        return DiagnosticStatus.OK, self.state_label, values

    # News

    def _on_device(self, msg: DeviceProfile) -> None:
        self._hear(msg, heartbeat=False)

    def _on_heartbeat(self, msg: DeviceProfile) -> None:
        self._hear(msg, heartbeat=True)

    def _hear(self, msg: DeviceProfile, *, heartbeat: bool) -> None:
        with self._lock:
            if self._runtime is None:
                return
            try:
                device = device_from_msg(msg)
            except CodesignError as error:
                self.get_logger().warning(f"ignored a profile: {error}")
                return
            hear = self._runtime.heartbeat if heartbeat else self._runtime.hear
            if change := hear(device, time.monotonic()):
                self.get_logger().info(change)

    def _on_liveliness(self, event: Any) -> None:
        if event.not_alive_count_change > 0 or event.alive_count_change < 0:
            with self._lock:
                if self._runtime is not None:
                    self._runtime.registry.suspect(time.monotonic())

    def _tick(self) -> None:
        with self._lock:
            if self._runtime is None:
                return
            for change in self._runtime.tick(time.monotonic()):
                self.get_logger().warning(change)
        self._wake.set()

    def _on_parameters(self, values: Mapping[str, Any]) -> None:
        known = {param.name for param in SOLVE_PARAMS}
        changed = {name: value for name, value in values.items() if name in known}
        with self._lock:
            if changed and self._runtime is not None:
                reason = ", ".join(f"{name} set to {value}" for name, value in changed.items())
                settings = self._settings(changed)
                self._runtime.change_settings(settings, reason, time.monotonic())

    def _settings(self, changed: Mapping[str, Any]) -> PlannerSettings:
        values = {param.name: self.params[param.name] for param in SOLVE_PARAMS} | dict(changed)
        return PlannerSettings(
            mode=values["mode"],
            objective=parse_objective(values["objective"]),
            lambda_1=values["lambda_1"],
            structures=tuple(map(Structure, values["structures"])),
            merges=tuple(map(Merge, values["merges"])),
            codecs=tuple(values["codecs"]),
            frame_codecs=tuple(values["frame_codecs"]),
            precisions=tuple(values["precisions"]),
            link_bps=values["link_bps"],
            link_band=values["link_band"],
            debounce_s=values["debounce_s"],
        )

    # Plans

    def _lead(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                due = self._runtime.due(time.monotonic()) if self._runtime else []
            for robot, reason in due:
                self._replan(robot, reason)

    def _replan(self, robot: str, reason: str) -> None:
        try:
            self._lead_to_next_plan(robot, reason)
        except CodesignError as error:
            self._note_failure(robot, str(error))
        except Exception as error:
            # It must show, and cost this robot a plan, not all robots their planner.
            self.get_logger().error(traceback.format_exc())
            self._note_failure(robot, unexpected(error))

    def _lead_to_next_plan(self, robot: str, reason: str) -> None:
        with self._lock:
            runtime = self._runtime
        if runtime is None:
            return
        self._get_ready(runtime, runtime.settings.mode)
        with self._lock:
            plan = runtime.next_plan(robot, reason)
            head = runtime.registry.head_of(robot)
        if plan is not None and head is not None:
            try:
                self._put_in_force(plan, head.node)
            except CodesignError:
                # A device that is just coming or going, or that is in a later epoch than it has
                # told us of yet.
                with self._lock:
                    runtime.request(robot, reason, time.monotonic() + RETRY_S)
                if self._stopping.is_set():
                    return
                raise
        with self._lock:
            self._failures.pop(robot, None)
            if plan is None:
                return
            runtime.adopt(plan)
        msg = plan_to_msg(plan)
        msg.stamp = self.get_clock().now().to_msg()
        self._plans.publish(msg)
        where = f"cut {plan.cut} ({plan.codec})" if plan.served_by else "all on the robot"
        self.get_logger().info(
            f"epoch {plan.epoch} for {robot}: {where}, {plan.latency_s * 1e3:.1f} ms predicted; "
            f"{reason}"
        )

    def _note_failure(self, robot: str, why: str) -> None:
        line = f"no new plan for {robot}: {why}"
        with self._lock:
            is_new = self._failures.get(robot) != line
            self._failures[robot] = line
        if is_new:
            self.get_logger().error(line)

    def _put_in_force(self, plan: Plan, head: str) -> None:
        """Prepare the tail, prepare the head, commit the head, tell the tail.

        Raises:
            CodesignError: one of them refused or did not answer; the old plan runs on.
        """
        prepare = PreparePlan.Request(plan=plan_to_msg(plan))
        commit = CommitPlan.Request(epoch=plan.epoch)
        if plan.served_by:
            self._call(PreparePlan, f"{plan.served_by}/prepare_plan", prepare)
        self._call(PreparePlan, f"{head}/prepare_plan", prepare)
        self._call(CommitPlan, f"{head}/commit_plan", commit)
        if plan.served_by:
            self._call(CommitPlan, f"{plan.served_by}/commit_plan", commit)

    def _call(self, kind: Any, name: str, request: Any) -> None:
        key = (kind.__name__, name)
        if key not in self._service_clients:
            self._service_clients[key] = self.create_client(kind, name, callback_group=self._calls)
        client = self._service_clients[key]
        give_up_s = time.monotonic() + SERVICE_TIMEOUT_S
        while not client.service_is_ready():
            if self._hopeless(name, give_up_s):
                raise CodesignError(f"service {name} is not there")
            self._stopping.wait(TICK_PERIOD_S)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        while not answered.wait(TICK_PERIOD_S):
            if self._hopeless(name, give_up_s):
                client.remove_pending_request(future)
                raise CodesignError(f"service {name} does not answer")
        answer: Any = future.result()
        if not answer.ok:
            raise CodesignError(answer.message)

    def _hopeless(self, service: str, give_up_s: float) -> bool:
        """Whether waiting for a service makes no sense: time is up, or its node has left."""
        node = service.rpartition("/")[0]
        with self._lock:
            devices = self._runtime.registry.devices if self._runtime else ()
            there = any(device.node == node for device in devices)
        return not there or self._stopping.is_set() or time.monotonic() > give_up_s

    def _on_solve(self, request: Solve.Request, response: Solve.Response) -> Solve.Response:
        with self._lock:
            runtime = self._runtime
        try:
            if runtime is None:
                raise CodesignError("the planner is not configured")
            self._get_ready(runtime, request.mode or runtime.settings.mode)
            with self._lock:
                self._answer_what_if(runtime, request, response)
            response.ok = True
        except CodesignError as error:
            response.message = str(error)
        return response

    def _get_ready(self, runtime: PlannerRuntime, mode: str) -> None:
        """Do what takes seconds before the lock is taken, under which heartbeats are heard."""
        if mode in {known.value for known in RooflineMode}:
            runtime.network_profile()

    def _answer_what_if(
        self, runtime: PlannerRuntime, request: Solve.Request, response: Solve.Response
    ) -> None:
        if not math.isfinite(request.lambda_1):
            raise CodesignError(f"lambda_1 must be a finite number, not {request.lambda_1}")
        if not 0 <= request.link_bps < math.inf:
            raise CodesignError(f"link_bps must be 0 or a finite rate, not {request.link_bps}")
        settings = runtime.settings
        if request.mode:
            settings = replace(settings, mode=request.mode)
        if request.objective:
            settings = replace(settings, objective=parse_objective(request.objective))
        if request.lambda_1 >= 0:
            settings = replace(settings, lambda_1=request.lambda_1)
        robots = sorted({device.robot for device in runtime.registry.devices})
        robot = request.robot or (robots[0] if len(robots) == 1 else "")
        solution = runtime.solve(robot, settings, request.link_bps or None)
        response.plan = plan_to_msg(runtime.labelled(solution.plan, robot))
        for row, name in (
            (solution.device_only, "device_only"),
            (solution.server_only, "server_only"),
        ):
            if row is not None:
                plan = runtime.labelled(solution.plan_of(row), robot)
                setattr(response, name, plan_to_msg(plan))


def profile_of(bundle: Bundle) -> NetworkProfile:
    """FLOPs and bytes of a bundle's network. Imports torch, hence only when a mode needs it."""
    from codesign_ros.cost.profile import profile_network

    return profile_network(bundle.network())


def main() -> int:
    """Run the planner as a process."""
    return run(PlannerNode)
