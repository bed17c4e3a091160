"""When to solve, for whom, with what: the planner without ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from codesign_ros.bundle import Bundle
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.problem import Candidate, Problem, Row
from codesign_ros.runtime.correction import corrected
from codesign_ros.runtime.device_costs import DeviceCosts
from codesign_ros.runtime.planner_settings import PlannerSettings
from codesign_ros.runtime.registry import Registry
from codesign_ros.runtime.robot_watch import FAST_BPS, Basis, Factors, RobotWatch
from codesign_ros.runtime.values import Device, Role
from codesign_ros.types import CodesignError, DeviceSpec, LinkSpec, Plan


class Due(NamedTuple):
    """A robot that needs a plan, and why in one line.

    ``optional``: only a rate or a time changed, so the plan in force may stay.
    """

    robot: str
    reason: str
    optional: bool


@dataclass
class _Robot:
    """What the planner knows of one robot beside its devices."""

    watch: RobotWatch
    plan: Plan | None = None
    reasons: list[str] = field(default_factory=list)
    optional: bool = True
    due_s: float = math.inf
    prepared: Basis | None = None


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
        self.costs = DeviceCosts(bundle, devices, network_profile)
        # Problems solved, and plans that stayed because no other was enough better.
        self.solved = 0
        self.kept = 0
        self._bundle = bundle
        self._cuts = len(bundle.segments) + 1
        self._robots: dict[str, _Robot] = {}
        self._last_epoch = 0

    # News

    def hear(self, device: Device, now_s: float) -> str | None:
        """Take an announcement; returns what changed, one line, or None."""
        self._last_epoch = max(self._last_epoch, device.epoch)
        watch = self._robot(device.robot).watch
        change = self.registry.hear(device, now_s)
        if change:
            watch.forget(device.role)
        elif device.role is Role.HEAD:
            watch.take(device, now_s)
            change = watch.frames_change(device)
        if change:
            self.request(device.robot, change, now_s)
        elif device.role is Role.HEAD:
            change = watch.link_change(device, self.settings.link_band)
            if not change and self.settings.corrects:
                change = watch.stage_change(self.settings.stage_band)
            if change:
                self.request(device.robot, change, now_s, optional=True)
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
            self._robot(device.robot).watch.forget(device.role)
            self.request(device.robot, change, now_s)
        return [change for _, change in lost]

    def request(self, robot: str, reason: str, now_s: float, *, optional: bool = False) -> None:
        """Note that ``robot`` needs a new plan soon; see ``Due``."""
        entry = self._robot(robot)
        entry.reasons.append(reason)
        entry.optional = entry.optional and optional
        entry.due_s = min(entry.due_s, now_s + self.settings.debounce_s)

    def change_settings(self, settings: PlannerSettings, reason: str, now_s: float) -> None:
        """Solve with other settings from now on, for every robot."""
        if settings.mode != self.settings.mode:
            for entry in self._robots.values():
                entry.watch.forget(*Role)  # another model is wrong in another way
        self.settings = settings
        for robot in self._robots:
            self.request(robot, reason, now_s)

    def due(self, now_s: float) -> list[Due]:
        """Take the robots that need a plan now."""
        taken = []
        for name, robot in self._robots.items():
            if robot.due_s <= now_s:
                taken.append(Due(name, "; ".join(robot.reasons), robot.optional))
                robot.reasons.clear()
                robot.optional = True
                robot.due_s = math.inf
        return taken

    # Plans

    @property
    def plans(self) -> dict[str, Plan]:
        """The plan in force by robot."""
        return {name: robot.plan for name, robot in self._robots.items() if robot.plan}

    def watch(self, robot: str) -> RobotWatch:
        """What is measured of a robot."""
        return self._robot(robot).watch

    def next_plan(self, robot: str, reason: str, *, optional: bool = False) -> Plan | None:
        """Solve for a robot and give the answer a new epoch.

        Returns:
            The plan; None while the robot has no active head, or where the plan in force stays.

        Raises:
            CodesignError: nothing can be planned with what is known; the old plan stays.
        """
        head = self.registry.head_of(robot)
        if head is None:
            return None
        entry = self._robot(robot)
        factors = self._factors(robot, self.settings)
        entry.watch.solved(factors, head.frame_bytes > 0)
        solution = self.solve(robot, self.settings)
        rate_bps = self._rate_bps(head, self.settings)
        if optional and entry.plan is not None:
            row = self._good_enough(solution, entry.plan)
            if row is not None:
                self.kept += 1
                entry.watch.follow(Basis(entry.plan, row.prediction, rate_bps, factors))
                return None
        self._last_epoch += 1
        plan = replace(self.labelled(solution.plan, robot), epoch=self._last_epoch, reason=reason)
        entry.prepared = Basis(plan, solution.best.prediction, rate_bps, factors)
        return plan

    def labelled(self, plan: Plan, robot: str) -> Plan:
        """Write on a solution for which robot and network it is and who serves."""
        tail = self._tail_of(robot)
        all_on_robot = plan.cut == len(self._bundle.segments)
        served_by = "" if tail is None or all_on_robot else tail.node
        return replace(plan, robot=robot, model_id=self._bundle.model_id, served_by=served_by)

    def adopt(self, plan: Plan) -> None:
        """Note that a plan is in force: the last one that ``next_plan`` gave for its robot."""
        entry = self._robots[plan.robot]
        entry.plan = plan
        if entry.prepared is not None:
            entry.watch.follow(entry.prepared)

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
        axes = settings.axes((tail.node,) if tail else ())
        factors = self._factors(robot, settings)
        tables = self.costs.tables(head, tail, settings.mode, axes)
        (slower,) = factors.link
        rate_bps = (link_bps or self._rate_bps(head, settings)) / slower
        link = LinkSpec(min(rate_bps, FAST_BPS), head.link_delay_s * slower)
        self.solved += 1
        return grid(
            Problem(
                tables=corrected(tables, factors.head, factors.tail),
                links=(link,) if tail else (),
                objective=settings.objective,
                lambda_1=settings.lambda_1,
                codecs=settings.codecs,
                frame_codecs=settings.frame_codecs,
                limits=settings.limits(self._bundle.accuracy),
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

    def _robot(self, name: str) -> _Robot:
        return self._robots.setdefault(name, _Robot(RobotWatch(self._cuts)))

    def _rate_bps(self, head: Device, settings: PlannerSettings) -> float:
        """The link's rate without correction: measured, or assumed until then."""
        return min(head.link_bps or settings.link_bps, FAST_BPS)

    def _factors(self, robot: str, settings: PlannerSettings) -> Factors:
        """By what predicted times are multiplied; they were learned in the mode in force."""
        if settings.corrects and settings.mode == self.settings.mode:
            return self.watch(robot).factors()
        return Factors.none(self._cuts)

    def _good_enough(self, solution: Solution, plan: Plan) -> Row | None:
        """What the plan in force costs by now, if the best is not better by ``switch_gain``."""
        evaluation = solution.evaluation
        try:
            index = evaluation.index_of(
                Candidate(
                    plan.cut,
                    plan.head_structure,
                    plan.tail_structure,
                    plan.merge,
                    plan.precision,
                    plan.codec,
                    plan.served_by,
                )
            )
        except CodesignError:
            return None  # it cannot be chosen any more
        now = float(evaluation.objective[index])
        if not math.isfinite(now):
            return None  # its cost is not known any more, or over a limit
        gain = now - solution.best.prediction.objective
        return evaluation.row(index) if gain < self.settings.switch_gain * abs(now) else None
