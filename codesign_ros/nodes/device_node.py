"""What head and tail share: the bundle, the profile, registration, prepare and commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from codesign_ros.bundle import Bundle
from codesign_ros.cost.devices import find_device, load_devices
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import BACKENDS, PRECISIONS_OF, EngineFactory
from codesign_ros.msg import DeviceProfile
from codesign_ros.nodes import qos
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.conversions import device_to_msg, plan_from_msg
from codesign_ros.nodes.params import Param
from codesign_ros.postprocess import Selection
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.profiling import Extent, Part, StageProfile, profile_cached
from codesign_ros.runtime.values import Device, Role
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types import PRECISIONS, CodesignError, Plan

HEARTBEAT_PERIOD_S = 0.5
THIS_MACHINE = "this-machine"
# Parameters of the fields' names.
SELECTION = tuple(field.name for field in fields(Selection))

PARAMS = (
    Param(
        "bundle", "", "directory of the model bundle; empty = the one that comes with the package"
    ),
    Param("backend", "onnxruntime", "inference engine", choices=BACKENDS),
    Param("threads", 1, "threads that work on one frame", low=1, high=64),
    Param(
        "device",
        THIS_MACHINE,
        f"{THIS_MACHINE}, or a name in config/devices.yaml whose peaks the planner's modes paper "
        "and roofline use",
    ),
    Param(
        "profile_s",
        3.0,
        "on configure, time heads or tails for about so long [s]; kept on disk; 0 = do not",
        low=0.0,
        high=600.0,
    ),
    Param(
        "precisions",
        ["fp32"],
        "precisions to time beside fp32, so that the planner may choose them",
        choices=PRECISIONS,
    ),
    Param(
        "score_threshold",
        Selection.score_threshold,
        "detectors: boxes in a result have a score above it; low, so that precision can be "
        "measured over all scores. Head and tail: the same",
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


def open_bundle(path: str) -> Bundle:
    """Open the bundle at ``path``; empty = the one that comes with the package.

    Raises:
        CodesignError: it cannot be read.
    """
    return Bundle.open(path or default_bundle())


class PlanFollower(Protocol):
    """The runtime of a head or a tail, as far as plans go."""

    @property
    def plan(self) -> Plan:
        """The plan in force."""

    def prepare(self, plan: Plan) -> None:
        """Get engines ready for a plan."""

    def commit(self, epoch: int) -> None:
        """Put a prepared plan in force."""


class DeviceNode(CodesignNode):
    """A head or a tail. Subclasses make and drop ``runtime`` as they activate and deactivate."""

    role: Role
    part: Part

    def __init__(self, name: str, params: Sequence[Param]) -> None:
        super().__init__(name, (*PARAMS, *params))
        self.runtime: PlanFollower | None = None
        self.bundle: Bundle | None = None
        self.factory: EngineFactory | None = None
        self.profile: StageProfile | None = None
        self._announced_slowdown = 0.0
        self._devices = self.create_publisher(DeviceProfile, "/codesign/devices", qos.state())
        self._heartbeats = self.create_publisher(
            DeviceProfile, "/codesign/heartbeat", qos.heartbeat()
        )
        plans = MutuallyExclusiveCallbackGroup()
        self.create_service(PreparePlan, "~/prepare_plan", self._prepare, callback_group=plans)
        self.create_service(CommitPlan, "~/commit_plan", self._commit, callback_group=plans)
        self.create_timer(HEARTBEAT_PERIOD_S, self._beat, self.timers_group)

    def configure(self) -> None:
        """Open the bundle and measure this machine, or read what it measured before."""
        device = self.params["device"]
        if device != THIS_MACHINE:
            find_device(load_devices(resource_path("config") / "devices.yaml"), device)
        self.bundle = open_bundle(self.params["bundle"])
        self.factory = EngineFactory(
            self.bundle, self.params["backend"], threads=self.params["threads"]
        )
        budget_s = self.params["profile_s"]
        self.profile = None
        if budget_s > 0:
            cache_dir: Path = default_cache_dir()
            self.profile = profile_cached(
                self.bundle,
                self.factory,
                self.part,
                cache_dir,
                Extent(precisions=tuple(self.params["precisions"]), budget_s=budget_s),
            )

    def cleanup(self) -> None:
        """Let go of the bundle."""
        self.bundle = self.factory = self.profile = None

    def announce(self) -> None:
        """Publish the whole profile: on registration and on every change of state."""
        self._announced_slowdown = self.params["emulation.slowdown"]
        profile = self.profile
        if profile is not None:
            profile = profile.stretched(self._announced_slowdown)
        self._devices.publish(device_to_msg(self.device(profile), self.get_clock().now().to_msg()))

    def device(self, profile: StageProfile | None) -> Device:
        """Describe this device as it announces itself."""
        return Device(
            robot=self.get_namespace(),
            node=self.get_fully_qualified_name(),
            role=self.role,
            state=self.state_label,
            model_id=self.bundle.model_id if self.bundle else "",
            device=self.params["device"],
            epoch=self.runtime.plan.epoch if self.runtime else 0,
            backends=(self.params["backend"],),
            precisions=PRECISIONS_OF[self.params["backend"]],
            profile=profile,
        )

    def selection(self, changed: Mapping[str, Any]) -> Selection:
        """Which boxes of a detector count, by the parameters and those that are just being set."""
        values = {name: self.params[name] for name in SELECTION} | {
            name: value for name, value in changed.items() if name in SELECTION
        }
        return Selection(**values)

    def _beat(self) -> None:
        # Without the profile: the link may be thin, and the profile seldom changes.
        if self.state_label not in ("inactive", "active"):
            return
        if self.params["emulation.slowdown"] != self._announced_slowdown:
            self.announce()
        else:
            now = self.get_clock().now().to_msg()
            self._heartbeats.publish(device_to_msg(self.device(None), now))

    def _prepare(
        self, request: PreparePlan.Request, response: PreparePlan.Response
    ) -> PreparePlan.Response:
        start = self.get_clock().now()
        try:
            self._active_runtime().prepare(plan_from_msg(request.plan))
            response.ok = True
        except CodesignError as error:
            response.message = str(error)
        response.build_s = (self.get_clock().now() - start).nanoseconds / 1e9
        return response

    def _commit(
        self, request: CommitPlan.Request, response: CommitPlan.Response
    ) -> CommitPlan.Response:
        try:
            self._active_runtime().commit(request.epoch)
            response.ok = True
        except CodesignError as error:
            response.message = str(error)
        return response

    def _active_runtime(self) -> PlanFollower:
        runtime = self.runtime
        if runtime is None:
            raise CodesignError(f"{self.get_fully_qualified_name()} is not active")
        return runtime
