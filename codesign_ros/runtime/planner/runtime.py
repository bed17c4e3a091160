"""When to solve, for whom, with what: the planner without ROS."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from codesign_ros.bundle import Bundle
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.planning.grid import Solution
from codesign_ros.runtime.device import Device, Heartbeat, Role
from codesign_ros.runtime.planner.changes import forms_text, retimed_cuts
from codesign_ros.runtime.planner.costs import DeviceCosts
from codesign_ros.runtime.planner.engine_wishes import Build, BuildRequests, Foresight
from codesign_ros.runtime.planner.numbering import Numbering
from codesign_ros.runtime.planner.plan_maker import PlanMaker, Robot
from codesign_ros.runtime.planner.policy import OURS
from codesign_ros.runtime.planner.problem import RobotProblems, rate_of
from codesign_ros.runtime.planner.reasons import joined
from codesign_ros.runtime.planner.registry import GONE_STATES, Registry
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.runtime.planner.strangers import Lobby
from codesign_ros.runtime.planner.watch import RobotWatch
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# Share of a link's rate that is left where it has become thin.
_THIN = 1 / 16


class Due(NamedTuple):
    """A robot that needs a plan, and why in one line.

    ``optional``: only a rate or a time changed, so the plan in force may stay.
    """

    robot: str
    reason: str
    optional: bool


class PlannerRuntime:
    """Keeps the registry, notes why a robot needs a new plan, and solves for it.

    Args:
        bundle: the network that head and tail share.
        devices: peaks of known devices by name, for the modes ``paper`` and ``roofline``.
        settings: what to solve for.
        registry: who is there.
        network_profile: see ``DeviceCosts``.
        session: the number of this start, which every plan carries.
        first_wait_s: least time from news of a robot to its first plan [s].
        is_there: whether a node of that name can be reached; until it can, what it announces waits.
    """

    def __init__(
        self,
        bundle: Bundle,
        devices: Mapping[str, DeviceSpec],
        settings: PlannerSettings,
        registry: Registry,
        network_profile: Callable[[], NetworkProfile],
        session: int = 0,
        first_wait_s: float = 0.0,
        is_there: Callable[[str], bool] = lambda node: True,
    ) -> None:
        self._first_wait_s = first_wait_s
        self._is_there = is_there
        self._lobby = Lobby()
        self.session = session
        self.settings = settings
        self.registry = registry
        self.costs = DeviceCosts(bundle, devices, network_profile)
        self.problems = RobotProblems(bundle, self.costs, registry)
        self._builds = BuildRequests()
        self._foresight = Foresight()
        self._cuts = bundle.last_cut + 1
        self._robots: defaultdict[str, Robot] = defaultdict(lambda: Robot(RobotWatch(self._cuts)))
        self._numbering = Numbering()
        self._maker = PlanMaker(
            self._robots,
            registry,
            self.problems,
            self._numbering,
            cuts=self._cuts,
            session=session,
            settings=lambda: self.settings,
            request=lambda robot, reason, now_s: self.request(robot, reason, now_s, optional=True),
        )

    # News

    def hear(self, device: Device, now_s: float) -> str | None:
        """Take an announcement; returns what changed, one line, or None."""
        if self.registry.announced(device.node) is None and not self._is_there(device.node):
            if device.state in GONE_STATES:
                self._lobby.leave(device.node)
            else:
                self._lobby.enter(device, now_s)
            return None
        self._numbering.hear(device.epoch)
        if self.registry.is_overruled(device, now_s):
            return None
        watch = self._robots[device.robot].watch
        before = self.registry.announced(device.node)
        if not self._concerns(device):
            return self._hear_of_pool(device, now_s)
        change = self.registry.hear(device, now_s)
        if change and change.anew:
            watch.forget(device.role, now_s=now_s)
            self._builds.forget(device.node)
        elif before:
            watch.retimed(device.role, retimed_cuts(before, device), now_s)
        watch.throttle(device.role, bool(device.throttled), now_s)
        self._builds.hear(device)
        changes = [change] if change else []
        if device.role is Role.HEAD and not (change and change.anew):
            watch.take(device, now_s)
            changes += watch.changes(device, now_s)
            settings = self.settings
            shares = self.problems.shared(device.robot, settings) != SHARED[0]
            if review := watch.review(
                device, settings.objective, settings.corrects, now_s, shares=shares
            ):
                self.request(device.robot, review, now_s, optional=True)
        # What no plan could use, before and after, is no reason for another plan.
        is_idle = before is not None and "active" not in (before.state, device.state)
        for each in changes:
            self.request(device.robot, each.text, now_s, optional=each.optional or is_idle)
        return "; ".join(each.text for each in changes) or None

    def heartbeat(self, beat: Heartbeat, now_s: float) -> str | None:
        """Take a sign of life; all but what is in it is as announced.

        A new start comes from announcements alone, which are reliable: a heartbeat may be overtaken
        by the announcement of the next state.
        """
        known = self.registry.known(beat, now_s)
        if known is None:
            return None  # its announcement is on the way, or is asked for
        return self.hear(replace(known, **vars(beat)), now_s)

    @property
    def waiting(self) -> int:
        """How many devices announced themselves and cannot be reached."""
        return len(self._lobby)

    @property
    def awaits_somebody(self) -> bool:
        """Whether it matters who can be reached by now."""
        return bool(self._lobby) or self.registry.strangers > 0

    def admit(self, now_s: float) -> list[str]:
        """Take what those announced that can be reached by now; what changed, one line each."""
        lines = [self.hear(device, now_s) for device in self._lobby.take(self._is_there, now_s)]
        return [line for line in lines if line]

    def call(self, now_s: float) -> tuple[str, ...]:
        """Nodes that can be reached and are not known: they must announce themselves anew."""
        return self.registry.call(now_s, self._is_there)

    def tick(self, now_s: float) -> list[str]:
        """Let time pass; returns who left or does not build, one line each."""
        said = []
        for device, change in self.registry.expire(now_s):
            said.append(change)
            self._builds.forget(device.node)
            if self._concerns(device):
                self._robots[device.robot].watch.forget(device.role, now_s=now_s)
                self.request(device.robot, change, now_s)
        self._forget_robots()
        for robot in self._robots:
            if self.problems.is_placement_stale(robot, now_s):
                self.request(robot, "another server may be better", now_s, optional=True)
        timeout_s = self.settings.build_timeout_s
        for node, form in self._builds.overdue(now_s, timeout_s):
            change = f"{node} has not built {forms_text([form])} in {timeout_s:.0f} s"
            said.append(change)
            late = self.registry.announced(node)
            if late is not None:
                self.request(late.robot, change, now_s, optional=True)
        return said

    def _concerns(self, device: Device) -> bool:
        """Whether a device is its robot's head, or the tail that it is placed on."""
        server = self.problems.placements.of(device.robot)
        return device.role is Role.HEAD or server in (None, device.server)

    def _hear_of_pool(self, device: Device, now_s: float) -> str | None:
        """Take an announcement of a tail that its robot does not use now.

        It may be better than the one that it uses, and no more than that.
        """
        change = self.registry.hear(device, now_s)
        if change is None:
            return None
        if change.anew:
            self._robots[device.robot].watch.forget_tail(device.node)
            self._builds.forget(device.node)
        self._builds.hear(device)
        self.problems.placements.look_again(device.robot)
        self.request(device.robot, change.text, now_s, optional=True)
        return change.text

    def request(self, robot: str, reason: str, now_s: float, *, optional: bool = False) -> None:
        """Note that ``robot`` needs a new plan soon; see ``Due``."""
        entry = self._robots[robot]
        entry.reasons.append(reason)
        entry.optional = entry.optional and optional
        wait_s = self.settings.debounce_s
        if entry.plan is None:
            # An announcement says which epoch a device was in then; its next heartbeat says which
            # it is in now, from which a planner that was restarted counts on.
            wait_s = max(wait_s, self._first_wait_s)
        entry.due_s = min(entry.due_s, now_s + wait_s)

    def change_settings(self, settings: PlannerSettings, reason: str, now_s: float) -> None:
        """Solve with other settings from now on, for every robot."""
        if settings.mode != self.settings.mode:
            for entry in self._robots.values():
                entry.watch.forget(*Role, now_s=now_s)  # another model is wrong in another way
        self.settings = settings
        for robot in self._robots:
            self.request(robot, reason, now_s)

    def due(self, now_s: float, busy: Collection[str] = ()) -> list[Due]:
        """Take the robots that need a plan now, without those that are ``busy`` with the last."""
        taken = []
        for name, robot in self._robots.items():
            if robot.due_s <= now_s and name not in busy:
                taken.append(Due(name, joined(robot.reasons), robot.optional))
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
        return self._robots[robot].watch

    def notes(self, robot: str) -> tuple[str, ...]:
        """What the last plan was not chosen from, or what was estimated, one line each."""
        return self._robots[robot].notes

    @property
    def kept(self) -> int:
        """Plans that stayed because no other was enough better."""
        return self._maker.kept

    def next_plan(
        self, robot: str, reason: str, now_s: float, *, optional: bool = False
    ) -> Plan | None:
        """Solve for a robot and give the answer a new epoch; see ``PlanMaker.next_plan``."""
        return self._maker.next_plan(robot, reason, now_s, optional=optional)

    def adopt(self, plan: Plan, now_s: float) -> None:
        """Note that a plan is in force: the last one that ``next_plan`` gave for its robot."""
        self._maker.adopt(plan, now_s)

    def solve(
        self, robot: str, settings: PlannerSettings, link_bps: float | None = None
    ) -> Solution:
        """Solve Eq. 11 for a robot as things stand, built or not; see ``RobotProblems``."""
        return self._maker.solve(robot, settings, link_bps)

    def lacking(self, robot: str, plan: Plan) -> tuple[Build, ...]:
        """The engines that have to be built before a solution can be put in force."""
        return self._maker.lacking(robot, plan)

    def building(self, robot: str) -> str:
        """What is being built so that the robot may have a better plan; empty if nothing is."""
        return self._maker.building(robot)

    def strayed(self, now_s: float) -> list[str]:
        """Robots that must be led anew, for a device runs another plan than the one in force."""
        return [
            name
            for name, robot in self._robots.items()
            if robot.straying.look(robot.plan, self.registry.devices_of(name), now_s)
        ]

    def stand_back(self) -> None:
        """Note that another planner leads: no plan is in force by this one any more."""
        for robot in self._robots.values():
            robot.plan = None

    def lead_all(self, reason: str, now_s: float) -> None:
        """Make a plan for every robot."""
        for robot in self._robots:
            self.request(robot, reason, now_s)

    def take_builds(self, robot: str, now_s: float) -> list[Build]:
        """Take the engines that devices must be asked for: those wanted, each of them once."""
        return self._builds.take(self._robots[robot].wanted, now_s)

    def foresee(self, robot: str) -> list[Build]:
        """Take what devices need for the best plan on a link as thin as it may become.

        A plan of a form that was never exported on a device cannot be had for many seconds, in
        which frames wait for the link: it is made ready while there is time, once a plan.
        """
        plan, head = self._robots[robot].plan, self.registry.head_of(robot)
        devices = self.registry.devices_of(robot)
        if plan is None or head is None or self.settings.policy != OURS:
            return []
        if not self._foresight.is_due(plan):
            return []
        try:
            thin = self.solve(robot, self.settings, _THIN * rate_of(head, self.settings))
        except CodesignError:  # on such a link nothing can be planned
            return []
        foreseen = self.problems.labelled(thin.plan, robot)
        return self._foresight.take(foreseen, plan, devices, self._cuts - 1)

    def not_asked(self, build: Build) -> None:
        """Note that a device did not take the order: it is taken again after the next solve."""
        self._builds.failed(build)

    def _forget_robots(self) -> None:
        """Forget those that have no device, once it was noted that the last one left."""
        for name in self._robots.keys() - self.registry.robots:
            if self._robots[name].due_s == math.inf:
                del self._robots[name]
                self.problems.placements.forget(name)
