"""What head and tail share: the bundle, the profile, registration, prepare and commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticStatus

from codesign_ros.bundle import Bundle
from codesign_ros.hardware.jetson import find_jetson, power_mode
from codesign_ros.hardware.thermal import Throttle
from codesign_ros.msg import DeviceProfile
from codesign_ros.msg import Heartbeat as HeartbeatMsg
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.border.version import DEVICES_TOPIC, PLANNER_TOPIC, Versions
from codesign_ros.nodes.deferral import NotMeantError
from codesign_ros.nodes.device_engines import DeviceEngines
from codesign_ros.nodes.identity.planners import Planners
from codesign_ros.nodes.identity.seat import Seat
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.device_messages import device_to_msg, heartbeat_to_msg
from codesign_ros.nodes.interface.engine_params import ENGINE_PARAMS
from codesign_ros.nodes.interface.held import THIS_MACHINE, check_bundle, check_device
from codesign_ros.nodes.interface.messages import plan_from_msg
from codesign_ros.nodes.interface.params import Param
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.device import Device, Heartbeat, Role
from codesign_ros.runtime.engines.share import EngineShare, Share
from codesign_ros.runtime.head.runtime import HeadRuntime
from codesign_ros.runtime.planner.strangers import FEW_NAMES
from codesign_ros.runtime.sessions import Place
from codesign_ros.runtime.tail.runtime import TailRuntime
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Part
from codesign_ros.types.plan import Plan

HEARTBEAT_PERIOD_S = 0.5
# Parameters of the fields' names.
SELECTION = tuple(field.name for field in fields(Selection))

PARAMS = (
    *ENGINE_PARAMS,
    Param(
        "bundle",
        "",
        "directory of the model bundle; empty = the one that comes with the package",
        held_from="configure",
    ),
    Param(
        "device",
        THIS_MACHINE,
        f"{THIS_MACHINE}, or a name in config/devices.yaml whose peaks the planner's modes paper "
        "and roofline use",
        held_from="configure",
    ),
    Param(
        "profile_s",
        3.0,
        "on configure, time heads or tails for about so long [s]; kept on disk; 0 = do not",
        low=0.0,
        high=600.0,
        held_from="configure",
    ),
    Param(
        "score_threshold",
        Selection.score_threshold,
        "detectors: boxes in a result have a score above it; low, so that precision can be "
        "measured over nearly all scores. Head and tail: the same",
        low=0.0,
        high=1.0,
    ),
    Param(
        "iou_threshold",
        Selection.iou_threshold,
        "detectors: of two boxes of one class whose overlap (intersection over union) is above it, "
        "the one with the lower score goes. Head and tail: the same",
        low=0.0,
        high=1.0,
    ),
    Param(
        "max_detections",
        Selection.max_detections,
        "detectors: most boxes in a result, the best ones. Head and tail: the same",
        low=1,
        high=1000,
    ),
    Param(
        "emulation.slowdown",
        0.0,
        "emulated: stretch compute so many times, as on a slower device; 0 = off",
        low=0.0,
        high=1000.0,
    ),
)


class DeviceNode(CodesignNode):
    """A head or a tail. Subclasses make and drop ``runtime`` as they activate and deactivate.

    Args:
        name: default node name.
        params: the node's parameters beside those that all devices have.
        engines: of the process, where several nodes share them; None = this node has its own.
        arguments: see ``CodesignNode``.
    """

    role: Role
    part: Part

    def __init__(
        self,
        name: str,
        params: Sequence[Param],
        engines: EngineShare | None = None,
        *,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(name, (*PARAMS, *params), arguments=arguments)
        # A frame takes OpenCV less than to wake its threads, which look busily for more work then.
        cv2.setNumThreads(1)
        self.engines = DeviceEngines(
            self.part, self.params, engines or EngineShare(), self.get_logger(), self.announce
        )
        self.runtime: HeadRuntime | TailRuntime | None = None
        # Where another active node has the same role in the namespace, one of them serves.
        self.seat = Seat(self, Place[self.role.name], "presence", self.get_namespace())
        self._planners = Planners(self, self._called)
        self._is_called = False
        self._throttle = Throttle()
        self._machine = find_jetson()
        self._power_mode = ""
        self._announced_slowdown = 0.0
        self._devices = self.advertise(DeviceProfile, "/codesign/devices", qos.state())
        self._heartbeats = self.advertise(HeartbeatMsg, "/codesign/heartbeat", qos.heartbeat())
        self.versions = Versions(self, tells=DEVICES_TOPIC, hears=PLANNER_TOPIC)
        self.serve(PreparePlan, "~/prepare_plan", self._prepare)
        self.serve(CommitPlan, "~/commit_plan", self._commit)
        self.every(HEARTBEAT_PERIOD_S, self._beat)
        self.params.refuse_where(check_bundle)
        self.params.refuse_where(check_device)
        self.params.when_set(self.on_parameters)

    def configure(self) -> None:
        """Open the bundle and measure this machine, or read what it measured before."""
        check_device({"device": self.params["device"]})
        self._power_mode = power_mode()
        self.engines.open()

    def cleanup(self) -> None:
        """Let go of the bundle and of the engines."""
        self.engines.close()

    @property
    def share(self) -> Share | None:
        """Bundle, factory and pool; None while the node is not configured."""
        return self.engines.share

    @property
    def bundle(self) -> Bundle | None:
        """The network; None while the node is not configured."""
        return self.share.bundle if self.share else None

    def announce(self) -> None:
        """Publish the whole profile: on registration and on every change of state."""
        self._announced_slowdown = self.params["emulation.slowdown"]
        profile = self.engines.profile
        factory = self.share.factory if self.share else None
        gpu = factory.gpu if factory else None
        device = Device(
            **vars(self.heartbeat()),
            robot=self.robot,
            role=self.role,
            state=self.state_label,
            model_id=self.bundle.model_id if self.bundle else "",
            device=self.params["device"],
            backends=(self.engines.backend or self.params["backend"],),
            precisions=factory.precisions if factory else (),
            memory_bytes=gpu.memory_bytes if gpu else 0,
            dla_cores=gpu.dla_cores if gpu else 0,
            power_mode=self._power_mode,
            engines=self.engines.forms(),
            profile=profile.stretched(self._announced_slowdown) if profile else None,
        )
        self._devices.publish(device_to_msg(device, self.get_clock().now().to_msg()))

    def heartbeat(self) -> Heartbeat:
        """What changes while it runs."""
        return Heartbeat(
            node=self.get_fully_qualified_name(),
            session=self.seat.session,
            epoch=self.runtime.plan.epoch if self.runtime else 0,
            throttled=self._throttle.reason(),
        )

    def status(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Add what it runs on and who else is there; what is not as it should be is a warning."""
        level, message, values = super().status()
        values = {**values, **self.engines.values(), "session": f"{self.seat.session:x}"}
        if self._machine is not None:
            values["machine"] = self._machine
        for zone, celsius in self._throttle.temperatures().items():
            values[f"temperature {zone} °C"] = f"{celsius:.0f}"
        if throttled := self._throttle.reason():
            values["throttled"] = throttled
        warnings = [self.seat.contested, self._planners.contested, self.engines.fallback]
        if any(warnings):
            level = max(level, DiagnosticStatus.WARN)
            message = "; ".join([message, *filter(None, warnings)])
        return level, message, values

    def selection(self, changed: Mapping[str, Any]) -> Selection:
        """Which boxes of a detector count, by the parameters and those that are just being set."""
        values = {name: self.params[name] for name in SELECTION} | {
            name: value for name, value in changed.items() if name in SELECTION
        }
        return Selection(**values)

    def get_ready(self, plan: Plan) -> None:
        """Do what a plan needs beside engines, before they are made; on the services' thread.

        Raises:
            CodesignError: it cannot be followed.
        """

    @property
    def robot(self) -> str:
        """Namespace of the robot that it belongs to."""
        return self.get_namespace()

    def on_parameters(self, values: Mapping[str, Any]) -> None:
        """Take over parameters that were set while it runs."""
        if self.runtime is None:
            return
        settings = self.runtime.settings
        settings.selection = self.selection(values)
        for name, value in values.items():
            setting = name.removeprefix("emulation.")
            if hasattr(settings, setting):
                setattr(settings, setting, value)

    def _beat(self) -> None:
        if not self._is_there:
            return
        if why := self.engines.newly_lost():
            self._start_anew(why)
        if self.state_label == "active":
            self.seat.tell()
        changed = self.params["emulation.slowdown"] != self._announced_slowdown
        if changed or self._is_called:
            self._is_called = False
            self.announce()
        else:
            self.beat()

    def beat(self) -> None:
        """Give a sign of life now."""
        now = self.get_clock().now().to_msg()
        self._heartbeats.publish(heartbeat_to_msg(self.heartbeat(), now))

    def _start_anew(self, why: str) -> None:
        """What runs the network is lost: go on with what is allowed in its place, or end."""
        if not self.engines.has_fallback:
            self.fail(why)
            return
        self.get_logger().error(why)
        was_active = self.state_label == "active"
        for trigger in (
            *([self.trigger_deactivate] if was_active else []),
            self.trigger_cleanup,
            self.trigger_configure,
            *([self.trigger_activate] if was_active else []),
        ):
            self.change(trigger)

    @property
    def _is_there(self) -> bool:
        """Whether it is in a state in which it announces itself."""
        return self.state_label in ("inactive", "active")

    def _called(self, names: int) -> None:
        if names <= FEW_NAMES and self._is_there:
            self.announce()
        else:
            self._is_called = True  # with the next heartbeat: a fleet does not answer at once

    def _check_meant(self, session: int, planner: int) -> None:
        """Tell who is meant, and by whom.

        Raises:
            NotMeantError: another node of this name is meant.
            CodesignError: another planner leads.
        """
        if session not in (0, self.seat.session):
            raise NotMeantError
        self._planners.check(planner)

    def _prepare(self, request: PreparePlan.Request, response: PreparePlan.Response) -> None:
        self._check_meant(request.session, request.plan.planner)
        start = self.get_clock().now()
        try:
            plan = plan_from_msg(request.plan)
            if request.build_only:
                response.message = self.engines.order(plan)
            else:
                self.get_ready(plan)
                self._active_runtime().prepare(plan)
        except CodesignError:
            if self.engines.forms() is not None:
                self.announce()  # the engine may be one that cannot be built
            raise
        finally:
            response.build_s = (self.get_clock().now() - start).nanoseconds / 1e9

    def _commit(self, request: CommitPlan.Request, _: CommitPlan.Response) -> None:
        self._check_meant(request.session, request.planner)
        self._active_runtime().commit(request.epoch)

    def _active_runtime(self) -> HeadRuntime | TailRuntime:
        runtime = self.runtime
        if runtime is None:
            raise CodesignError(f"{self.get_fully_qualified_name()} is not active")
        return runtime
