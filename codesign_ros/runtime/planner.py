"""When to solve, for whom, with what: the planner without ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from codesign_ros.bundle import Bundle
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.cost.model import MODES, AnalyticCost, MeasuredCost
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import CostModel, Problem
from codesign_ros.planning.solvers import Solution, grid
from codesign_ros.runtime.registry import Registry
from codesign_ros.runtime.values import Device, Role
from codesign_ros.types import CodesignError, DeviceSpec, LinkSpec, Merge, Plan, Structure

# Faster than this the link is not what limits a plan, and its measurement is mostly noise [bit/s].
_FAST_BPS = 1e9
# A change of the link matters if it changes the time of a payload of this size, which is about what
# embeddings have, by this much: on a fast link the measured rate is mostly noise.
_REFERENCE_BYTES = 32_768
_LEAST_CHANGE_S = 0.005
# A measured rate must be out of its band in so many announcements in a row.
_OUT_OF_BAND = 3


@dataclass(frozen=True)
class PlannerSettings:
    """What the planner solves for; all of it may change while it runs.

    Attributes:
        mode: cost model, one of ``MODES``.
        objective: which time counts in Eq. 11.
        lambda_1: weight of the accuracy loss in Eq. 11 [s per unit of loss].
        structures: structures that head and tail may have.
        merges: what may become of branches that do not stay.
        codecs: codecs for cuts 1..N-1.
        frame_codecs: codecs for the frame at cut 0.
        precisions: numeric precisions; both halves have the same.
        link_bps: rate to assume until the head has measured the link [bit/s].
        link_band: solve again when the measured rate is this many times off the planned one.
        debounce_s: time to wait for more news before solving [s].
    """

    mode: str = "measured"
    objective: Objective = Objective.LATENCY
    lambda_1: float = 1.0
    structures: tuple[Structure, ...] = tuple(Structure)
    merges: tuple[Merge, ...] = (Merge.FOLD,)
    codecs: tuple[str, ...] = ("raw", "fp16+zstd", "uint8+zstd")
    frame_codecs: tuple[str, ...] = ("jpeg", "raw")
    precisions: tuple[str, ...] = ("fp32",)
    link_bps: float = 10e6
    link_band: float = 1.5
    debounce_s: float = 0.2

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise CodesignError(f"unknown mode {self.mode!r}; known are {', '.join(MODES)}")


@dataclass
class _Robot:
    """What the planner knows of one robot beside its devices."""

    plan: Plan | None = None
    reasons: list[str] = field(default_factory=list)
    due_s: float = math.inf
    out_of_band: int = 0
    sendable: bool = False


class PlannerRuntime:
    """Keeps the registry, notes why a robot needs a new plan, and solves for it.

    Args:
        bundle: the network that head and tail share.
        devices: peaks of known devices by name, for the modes ``paper`` and ``roofline``.
        settings: what to solve for.
        registry: who is there.
        network_profile: gives FLOPs and bytes of the network; called once, when a mode needs it.
    """

    def __init__(
        self,
        bundle: Bundle,
        devices: Mapping[str, DeviceSpec],
        settings: PlannerSettings,
        registry: Registry,
        network_profile: Callable[[], NetworkProfile],
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.solved = 0
        self._bundle = bundle
        self._devices = devices
        self._make_network_profile = network_profile
        self._network_profile: NetworkProfile | None = None
        self._robots: dict[str, _Robot] = {}
        self._last_epoch = 0

    # News

    def hear(self, device: Device, now_s: float) -> str | None:
        """Take an announcement; returns what changed, one line, or None."""
        self._last_epoch = max(self._last_epoch, device.epoch)
        change = (
            self.registry.hear(device, now_s)
            or self._link_change(device)
            or self._frames_change(device)
        )
        if change:
            self.request(device.robot, change, now_s)
        return change

    def heartbeat(self, device: Device, now_s: float) -> str | None:
        """Take a sign of life: what was measured while running counts, the rest is as announced.

        State, profile and a new start come from announcements alone, which are reliable: a
        heartbeat may be overtaken by the announcement of the next state.
        """
        known = self.registry.announced(device.node)
        if known is None:
            return None  # its announcement is on the way
        device = replace(
            device,
            state=known.state,
            model_id=known.model_id,
            profile=known.profile,
            epoch=max(device.epoch, known.epoch),
        )
        return self.hear(device, now_s)

    def tick(self, now_s: float) -> list[str]:
        """Let time pass; returns who left, one line each."""
        lost = self.registry.expire(now_s)
        for device, change in lost:
            self.request(device.robot, change, now_s)
        return [change for _, change in lost]

    def request(self, robot: str, reason: str, now_s: float) -> None:
        """Note that ``robot`` needs a new plan soon."""
        entry = self._robots.setdefault(robot, _Robot())
        entry.reasons.append(reason)
        entry.due_s = min(entry.due_s, now_s + self.settings.debounce_s)

    def change_settings(self, settings: PlannerSettings, reason: str, now_s: float) -> None:
        """Solve with other settings from now on, for every robot."""
        self.settings = settings
        for robot in self._robots:
            self.request(robot, reason, now_s)

    def due(self, now_s: float) -> list[tuple[str, str]]:
        """Take the robots that need a plan now, each with the reasons in one line."""
        taken = []
        for name, robot in self._robots.items():
            if robot.due_s <= now_s:
                taken.append((name, "; ".join(robot.reasons)))
                robot.reasons.clear()
                robot.due_s = math.inf
        return taken

    # Plans

    @property
    def plans(self) -> dict[str, Plan]:
        """The plan in force by robot."""
        return {name: robot.plan for name, robot in self._robots.items() if robot.plan}

    def next_plan(self, robot: str, reason: str) -> Plan | None:
        """Solve for a robot and give the answer a new epoch; None while it has no active head.

        Raises:
            CodesignError: nothing can be planned with what is known; the old plan stays.
        """
        head = self.registry.head_of(robot)
        if head is None:
            return None
        self._robots.setdefault(robot, _Robot()).sendable = head.frame_bytes > 0
        plan = self.solve(robot, self.settings).plan
        self._last_epoch += 1
        return replace(self.labelled(plan, robot), epoch=self._last_epoch, reason=reason)

    def labelled(self, plan: Plan, robot: str) -> Plan:
        """Write on a solution for which robot and network it is and who serves."""
        tail = self._tail_of(robot)
        all_on_robot = plan.cut == len(self._bundle.segments)
        served_by = "" if tail is None or all_on_robot else tail.node
        return replace(plan, robot=robot, model_id=self._bundle.model_id, served_by=served_by)

    def adopt(self, plan: Plan) -> None:
        """Note that a plan is in force."""
        self._robots[plan.robot].plan = plan

    def solve(
        self, robot: str, settings: PlannerSettings, link_bps: float | None = None
    ) -> Solution:
        """Solve Eq. 11 for a robot as things stand; changes nothing.

        Args:
            robot: namespace of the robot.
            settings: what to solve for.
            link_bps: rate to use in place of the measured one [bit/s].

        Raises:
            CodesignError: the robot has no active head, a device has not measured or has no peaks,
                or no candidate has a known cost.
        """
        head = self.registry.head_of(robot)
        if head is None:
            known = sorted({d.robot for d in self.registry.devices if d.role is Role.HEAD})
            raise CodesignError(
                f"no active head is registered for robot {robot!r}; "
                f"registered: {', '.join(known) or 'none'}"
            )
        if head.model_id != self._bundle.model_id:
            raise CodesignError(self._foreign(head))
        tail = self._tail_of(robot)
        rate_bps = link_bps or head.link_bps or settings.link_bps
        self.solved += 1
        return grid(
            Problem(
                cost=self._cost(head, tail, settings.mode),
                link=LinkSpec(min(rate_bps, _FAST_BPS), head.link_delay_s),
                server_available=tail is not None,
                structures=settings.structures,
                merges=settings.merges,
                codecs=settings.codecs,
                frame_codecs=settings.frame_codecs,
                precisions=settings.precisions,
                objective=settings.objective,
                lambda_1=settings.lambda_1,
            )
        )

    def foreign_tails(self) -> list[str]:
        """Why active tails with another network are not used, one line each."""
        return [
            self._foreign(device)
            for device in self.registry.devices
            if (device.role, device.state) == (Role.TAIL, "active")
            and device.model_id != self._bundle.model_id
        ]

    def _foreign(self, device: Device) -> str:
        return (
            f"{device.role.name.lower()} {device.node} runs network {device.model_id!r}, the "
            f"planner has {self._bundle.model_id!r} ({self._bundle.name}); give both the same "
            "bundle"
        )

    def _tail_of(self, robot: str) -> Device | None:
        """The active tail that has the same network."""
        tail = self.registry.tail_of(robot)
        return tail if tail is not None and tail.model_id == self._bundle.model_id else None

    def _cost(self, head: Device, tail: Device | None, mode: str) -> CostModel:
        codec_bytes = head.profile.codec_bytes if head.profile else {}
        if mode == "measured":
            return MeasuredCost(
                len(self._bundle.segments),
                _measured(head),
                _measured(tail) if tail else None,
                codec_bytes,
                self._bundle.accuracy,
                head.frame_bytes,
            )
        return AnalyticCost(
            self.network_profile(),
            self._spec(head),
            self._spec(tail) if tail else None,
            RooflineMode(mode),
            self._bundle.accuracy,
            codec_bytes,
        )

    def network_profile(self) -> NetworkProfile:
        """FLOPs and bytes of the network; the first call may take seconds."""
        if self._network_profile is None:
            self._network_profile = self._make_network_profile()
        return self._network_profile

    def _spec(self, device: Device) -> DeviceSpec:
        if device.peak_flops > 0 and device.memory_bandwidth > 0:
            return DeviceSpec(device.node, device.peak_flops, device.memory_bandwidth)
        if device.device in self._devices:
            return self._devices[device.device]
        raise CodesignError(
            f"the peaks of {device.node} are not known (device {device.device!r}): set its "
            f"parameter 'device' to one of {', '.join(sorted(self._devices))}, or plan in mode "
            "measured"
        )

    def _link_change(self, device: Device) -> str | None:
        """Whether the measured link rate has left the band around the one that was planned with."""
        robot = self._robots.get(device.robot)
        if robot is None or robot.plan is None or device.role is not Role.HEAD:
            return None
        planned_bps, measured_bps = robot.plan.link_bps, min(device.link_bps, _FAST_BPS)
        band = self.settings.link_band
        if not robot.plan.server_available or measured_bps <= 0:
            robot.out_of_band = 0
            return None
        inside = planned_bps / band <= measured_bps <= planned_bps * band
        change_s = abs(8 * _REFERENCE_BYTES / measured_bps - 8 * _REFERENCE_BYTES / planned_bps)
        if inside or change_s < _LEAST_CHANGE_S:
            robot.out_of_band = 0
            return None
        robot.out_of_band += 1
        if robot.out_of_band < _OUT_OF_BAND:
            return None
        robot.out_of_band = 0
        return f"link rate {planned_bps / 1e6:.1f} -> {measured_bps / 1e6:.1f} Mbit/s"

    def _frames_change(self, device: Device) -> str | None:
        """Whether the camera's frames became such that cut 0 can send them as they are, or not."""
        robot = self._robots.get(device.robot)
        if robot is None or robot.plan is None or device.role is not Role.HEAD:
            return None
        sendable = device.frame_bytes > 0
        if sendable == robot.sendable or not robot.plan.server_available:
            return None
        robot.sendable = sendable
        if sendable:
            return f"the camera's JPEGs ({device.frame_bytes / 1e3:.0f} kB) fit the network's input"
        return "the camera's frames do not fit the network's input any more"


def _measured(device: Device) -> MeasuredStages:
    if device.profile is None:
        raise CodesignError(
            f"{device.node} has not measured itself; set its parameter 'profile_s' above 0, or "
            "plan in another mode"
        )
    profile = device.profile
    return MeasuredStages(profile.stage_s, profile.codec_s, profile.precision_s)
