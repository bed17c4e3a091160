"""The planner: hears who is there, solves, and leads head and tail from plan to plan."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from codesign_ros.bundle import Bundle
from codesign_ros.cost.catalogue import load_devices
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.border.version import DEVICES_TOPIC, PLANNER_TOPIC, Versions
from codesign_ros.nodes.identity.device_news import DeviceNews
from codesign_ros.nodes.identity.plan_writers import PlanWriters
from codesign_ros.nodes.identity.seat import PLANNERS, PRESENCE_PERIOD_S, Seat
from codesign_ros.nodes.interface.held import check_bundle
from codesign_ros.nodes.interface.messages import plan_to_msg
from codesign_ros.nodes.interface.planner_params import PARAMS, SOLVE_PARAMS, settings_from
from codesign_ros.nodes.plan_leader import PlanLeader, get_ready
from codesign_ros.nodes.planner_diagnostics import report
from codesign_ros.nodes.process import run
from codesign_ros.nodes.solve_service import answer_what_if
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.planner.policy import OURS, check_policy
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.runtime.sessions import Place
from codesign_ros.srv import Solve
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.types.plan import Plan

TICK_PERIOD_S = 0.05
# How often it is looked whether there are nodes to be called.
CALL_PERIOD_S = 0.25
# After an announcement a heartbeat has come by then, unless it was lost [s].
HEARTBEAT_WAIT_S = 0.6


class PlannerNode(CodesignNode):
    """Solves the co-design problem whenever something changes; see ``PlannerRuntime``."""

    def __init__(self) -> None:
        super().__init__("planner", PARAMS, namespace="/codesign")
        self._lock = threading.RLock()
        self._runtime: PlannerRuntime | None = None
        self._leader: PlanLeader | None = None
        self._last_cut: int | None = None  # of the network that is open
        self.versions = Versions(self, tells=PLANNER_TOPIC, hears=DEVICES_TOPIC)
        self.seat = Seat(self, Place.PLANNER, PLANNERS, on_change=self._on_place)
        self._plans = PlanWriters(self)
        self._devices = DeviceNews(self, self._lock, lambda: self._runtime)
        self._told_s = -math.inf
        # What there is to say of devices that are in one place, and was said.
        self._conflicts: list[str] = []
        self.serve(Solve, "/codesign/solve", self._on_solve)
        self.every(TICK_PERIOD_S, self._tick)
        self.every(CALL_PERIOD_S, self._call)
        self.params.refuse_where(check_bundle)
        self.params.refuse_where(self._settings)
        self.params.refuse_where(
            lambda values: check_policy(values.get("policy", OURS), self._last_cut)
        )
        self.params.when_set(self._on_parameters)

    def configure(self) -> None:
        """Open the bundle and start to hear devices."""
        bundle = Bundle.open(self.params["bundle"] or default_bundle())
        check_policy(self.params["policy"], bundle.last_cut)
        self._last_cut = bundle.last_cut
        devices = load_devices(resource_path("config") / "devices.yaml")
        registry = Registry(self.params["silence_limit_s"])
        with self._lock:
            self._runtime = PlannerRuntime(
                bundle,
                devices,
                self._settings({}),
                registry,
                lambda: profile_of(bundle),
                self.seat.session,
                HEARTBEAT_WAIT_S,
                self._devices.reachable.__contains__,
            )
        # Only now: announcements are heard once, those of devices that were here before us too.
        self._devices.listen()

    def activate(self) -> None:
        """Start to solve and to lead."""
        assert self._runtime is not None
        self._leader = PlanLeader(
            self, self._runtime, self._lock, self._announce, lambda: self.seat.serves
        )

    def deactivate(self) -> None:
        """Stop solving; the plans in force stay."""
        leader, self._leader = self._leader, None
        if leader is not None:
            leader.stop()

    def cleanup(self) -> None:
        """Forget the devices."""
        self._last_cut = None
        with self._lock:
            self._runtime = None
            self._devices.forget()
        self._plans.forget()

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Devices, plans in force, and what stands in the way of others."""
        with self._lock:
            runtime = self._runtime
            if runtime is None:
                return super().diagnostics()
            values = {**report(runtime), **self._devices.left_out}
            leader = self._leader
            problems = [
                *filter(None, [self.seat.contested]),
                *self._conflicts,
                *(leader.failures if leader else ()),
            ]
        if problems:
            return DiagnosticStatus.WARN, "; ".join(problems), values
        return DiagnosticStatus.OK, self.state_label, values

    # News

    def _tick(self) -> None:
        self._devices.look()
        with self._lock:
            if self._runtime is None:
                return
            self._devices.catch_up(self.params["silence_limit_s"])
            for line in self._runtime.admit(time.monotonic()):
                self.get_logger().info(line)
            for change in self._runtime.tick(time.monotonic()):
                self.get_logger().warning(change)
            leader = self._leader
        if leader is not None:
            leader.wake()

    def _call(self) -> None:
        """Say that this planner is there, and which nodes it hears and does not know."""
        if self.state_label != "active":
            return
        now_s = time.monotonic()
        with self._lock:
            if self._runtime is None:
                return
            registry = self._runtime.registry
            unknown = self._runtime.call(now_s) if self.seat.serves else ()
            conflicts = [*registry.conflicts(now_s), *self._runtime.problems.foreign_tails()]
            robots = {device.robot for device in registry.devices}
        self._plans.keep(robots, now_s)
        for line in conflicts:
            if line not in self._conflicts:
                self.get_logger().error(line)
        self._conflicts = conflicts
        if unknown or now_s >= self._told_s + PRESENCE_PERIOD_S:
            self._told_s = now_s
            self.seat.tell(unknown)

    def _on_place(self, serves: bool) -> None:
        """Lead from now on, or leave that to another planner."""
        with self._lock:
            if self._runtime is None:
                return
            if serves:
                self._runtime.lead_all("no other planner leads any more", time.monotonic())
            else:
                self._runtime.stand_back()
        if not serves:
            self._plans.withdraw()

    def _on_parameters(self, values: Mapping[str, Any]) -> None:
        known = {param.name for param in SOLVE_PARAMS}
        changed = {name: value for name, value in values.items() if name in known}
        with self._lock:
            if changed and self._runtime is not None:
                reason = ", ".join(f"{name} set to {value}" for name, value in changed.items())
                settings = self._settings(changed)
                self._runtime.change_settings(settings, reason, time.monotonic())

    def _settings(self, changed: Mapping[str, Any]) -> PlannerSettings:
        return settings_from(
            {param.name: changed.get(param.name, self.params[param.name]) for param in SOLVE_PARAMS}
        )

    # Plans

    def _announce(self, plan: Plan) -> None:
        msg = plan_to_msg(plan)
        msg.stamp = self.get_clock().now().to_msg()
        self._plans.publish(msg)
        where = f"cut {plan.cut} ({plan.codec})" if plan.served_by else "all on the robot"
        self.get_logger().info(
            f"epoch {plan.epoch} for {plan.robot}: {where}, {plan.latency_s * 1e3:.1f} ms "
            f"predicted; {plan.reason}"
        )

    def _on_solve(self, request: Solve.Request, response: Solve.Response) -> None:
        with self._lock:
            runtime = self._runtime
        if runtime is None:
            raise CodesignError("the planner is not configured")
        get_ready(runtime, self._lock, request.mode or runtime.settings.mode)
        with self._lock:
            answer_what_if(runtime, request, response)


def profile_of(bundle: Bundle) -> NetworkProfile:
    """FLOPs and bytes of a bundle's network. Imports torch, hence only when a mode needs it."""
    from codesign_ros.cost.profile import profile_network

    return profile_network(bundle.network(), tuple(Structure))


def main() -> int:
    """Run the planner as a process."""
    return run(PlannerNode)
