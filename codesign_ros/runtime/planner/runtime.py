"""When to solve, for whom, with what: the planner without ROS."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import NamedTuple

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.planning.grid import Solution
from codesign_ros.planning.problem import Candidate, Row
from codesign_ros.runtime.device import Device, Heartbeat, Role
from codesign_ros.runtime.planner.changes import forms_text, retimed_cuts
from codesign_ros.runtime.planner.costs import DeviceCosts
from codesign_ros.runtime.planner.engine_wishes import Build, BuildRequests, builds_text
from codesign_ros.runtime.planner.lobby import Lobby
from codesign_ros.runtime.planner.numbering import Numbering, Straying
from codesign_ros.runtime.planner.policy import OURS
from codesign_ros.runtime.planner.problem import RobotProblems, rate_of
from codesign_ros.runtime.planner.reasons import joined
from codesign_ros.runtime.planner.registry import GONE_STATES, Registry
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.runtime.planner.watch import Basis, Factors, RobotWatch
from codesign_ros.types import NECK_CODECS, CodesignError, DeviceSpec, Plan


class Due(NamedTuple):
    """A robot that needs a plan, and why in one line.

    ``optional``: only a rate or a time changed, so the plan in force may stay.
    """

    robot: str
    reason: str
    optional: bool


@dataclass
class _Robot:
    """What the planner knows of one robot beside its devices.

    ``chosen``: whether the plan that was ``prepared`` is one that was not needed, only better, and
    ``started_s`` when it was made [s]. ``wanted``: engines of a better plan, which are being built.
    ``notes``: what the last problem left out.
    """

    watch: RobotWatch
    straying: Straying = field(default_factory=Straying)
    plan: Plan | None = None
    reasons: list[str] = field(default_factory=list)
    optional: bool = True
    due_s: float = math.inf
    prepared: Basis | None = None
    chosen: bool = False
    started_s: float = 0.0
    wanted: tuple[Build, ...] = ()
    notes: tuple[str, ...] = ()


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
        # Plans that stayed because no other was enough better.
        self.kept = 0
        self._builds = BuildRequests()
        self._cuts = bundle.last_cut + 1
        self._robots: dict[str, _Robot] = {}
        self._numbering = Numbering()

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
        watch = self._robot(device.robot).watch
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
            if review := watch.review(device, self.settings.corrects, now_s):
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
                self._robot(device.robot).watch.forget(device.role, now_s=now_s)
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
            self._robot(device.robot).watch.forget_tail(device.node)
            self._builds.forget(device.node)
        self._builds.hear(device)
        self.problems.placements.look_again(device.robot)
        self.request(device.robot, change.text, now_s, optional=True)
        return change.text

    def request(self, robot: str, reason: str, now_s: float, *, optional: bool = False) -> None:
        """Note that ``robot`` needs a new plan soon; see ``Due``."""
        entry = self._robot(robot)
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
        return self._robot(robot).watch

    def notes(self, robot: str) -> tuple[str, ...]:
        """What the last plan was not chosen from, or what was estimated, one line each."""
        return self._robot(robot).notes

    def next_plan(
        self, robot: str, reason: str, now_s: float, *, optional: bool = False
    ) -> Plan | None:
        """Solve for a robot and give the answer a new epoch.

        Where an engine of the best plan is not built, it is the best of those whose engines are;
        the others are wanted then, see ``take_builds``. With ``optional`` the plan in force stays
        unless the change is worth it, see ``Steadiness``.

        Returns:
            The plan; None while the robot has no active head, or where the plan in force stays.

        Raises:
            CodesignError: nothing can be planned with what is known, or nothing that is built
                serves; the old plan stays.
        """
        entry = self._robot(robot)
        entry.wanted = ()
        head = self.registry.head_of(robot)
        if head is None:
            return None
        if moved := self._place(robot, now_s):
            reason, optional = f"{reason}; {moved}", False
        factors, rate_bps = self._factors(robot, self.settings), rate_of(head, self.settings)
        entry.watch.solved(factors, rate_bps, head.frame_bytes > 0, now_s)
        best = self.solve(robot, self.settings)
        entry.notes = best.problem.tables.notes
        solution, gain_s = self._built(robot, best, factors)
        if optional and entry.plan is not None:
            row = self._good_enough(solution, entry, now_s)
            if row is not None:
                self.kept += 1
                entry.watch.follow(Basis(entry.plan, row.prediction, rate_bps, factors))
                return None
        if entry.wanted:
            reason = f"{reason}; {self.building(robot)} (saves {gain_s * 1e3:.1f} ms)"
        plan = self.problems.labelled(solution.plan, robot)
        epoch = self._numbering.next({device.epoch for device in self.registry.devices_of(robot)})
        plan = replace(plan, epoch=epoch, planner=self.session, reason=reason)
        if (alone := solution.device_only) is not None:
            plan = replace(
                plan,
                standby_structure=alone.candidate.head_structure,
                standby_merge=alone.candidate.merge,
                standby_precision=alone.candidate.precision,
            )
        entry.prepared = Basis(plan, solution.best.prediction, rate_bps, factors)
        entry.chosen, entry.started_s = optional and entry.plan is not None, now_s
        return plan

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

    def _built(self, robot: str, best: Solution, factors: Factors) -> tuple[Solution, float]:
        """The best that can be put in force at once, and how much worse it is [s].

        What the best of all lacks is wanted, if it is enough better.
        """
        entry = self._robot(robot)
        lacking = self.lacking(robot, best.plan)
        if not lacking:
            return best, 0.0
        try:
            built = self.problems.solve(
                robot,
                self.settings,
                factors,
                in_force=entry.watch.plan,
                built_only=True,
                others=self._others(robot, self.settings),
            )
        except CodesignError as error:
            entry.wanted = lacking
            raise CodesignError(f"{self.building(robot)}; of what is built, {error}") from None
        now_s = built.best.prediction.objective
        gain_s = now_s - best.best.prediction.objective
        if gain_s > 0 and gain_s >= self.settings.switch_gain * abs(now_s):
            entry.wanted = lacking
        return built, gain_s

    def lacking(self, robot: str, plan: Plan) -> tuple[Build, ...]:
        """The engines that have to be built before a solution can be put in force."""
        labelled = self.problems.labelled(plan, robot)
        return tuple(self.problems.lacking(labelled, self._robot(robot).watch.plan))

    def building(self, robot: str) -> str:
        """What is being built so that the robot may have a better plan; empty if nothing is."""
        builds = self._robot(robot).wanted
        verb = "is" if len(builds) == 1 else "are"
        return f"{builds_text(builds)} {verb} being built" if builds else ""

    def take_builds(self, robot: str, now_s: float) -> list[Build]:
        """Take the engines that devices must be asked for: those wanted, each of them once."""
        return self._builds.take(self._robot(robot).wanted, now_s)

    def not_asked(self, build: Build) -> None:
        """Note that a device did not take the order: it is taken again after the next solve."""
        self._builds.failed(build)

    def adopt(self, plan: Plan, now_s: float) -> None:
        """Note that a plan is in force: the last one that ``next_plan`` gave for its robot."""
        entry = self._robot(plan.robot)
        entry.plan = plan
        took_s = now_s - entry.started_s
        entry.watch.steadiness.switched(now_s, took_s, chosen=entry.chosen)
        entry.watch.serve_by(plan.tail)
        if entry.prepared is not None:
            entry.watch.follow(entry.prepared)

    def solve(
        self, robot: str, settings: PlannerSettings, link_bps: float | None = None
    ) -> Solution:
        """Solve Eq. 11 for a robot as things stand, built or not; see ``RobotProblems``."""
        factors, others = self._factors(robot, settings), self._others(robot, settings)
        return self.problems.solve(robot, settings, factors, link_bps, others=others)

    def _place(self, robot: str, now_s: float) -> str:
        """Place a robot on one of its servers; returns what moved, one line, or nothing.

        Others on the two servers have other shares then.
        """
        placements = self.problems.placements
        before = placements.of(robot)
        self.problems.place(robot, self.settings, self._factors_at, now_s)
        now = placements.of(robot)
        if now == before:
            return ""
        moved = f"{robot} moved from {before} to {now}" if before else f"{robot} is on {now} now"
        for other in self._robots:
            is_there = other != robot and placements.of(other) in (before, now)
            if is_there and self.problems.is_in_pool(other):
                self.request(other, moved, now_s, optional=True)
        return moved if before else ""

    def _factors_at(self, robot: str, server: str) -> Factors:
        """By what the times of a robot would be multiplied on a server of its pool."""
        factors = self._factors(robot, self.settings)
        if not self.settings.corrects:
            return factors
        return replace(factors, tail=np.full(self._cuts, self.overload(server)), tail_gap_s=0.0)

    def overload(self, server: str) -> float:
        """How many times longer a server takes than its robots' shares of it explain, at least 1.

        By what its robots find now; where there are none, by what those found who were there.
        """
        found: dict[bool, list[float]] = {True: [], False: []}
        for name, robot in self._robots.items():
            for node, factor in robot.watch.tail_loads().items():
                tail = self.registry.announced(node)
                if tail is not None and tail.server == server:
                    is_here = self.problems.placements.of(name) == server
                    found[is_here].append(factor)
        return max(1.0, median(found[True] or found[False] or [1.0]))

    def _forget_robots(self) -> None:
        """Forget those that have no device, once it was noted that the last one left."""
        for name in self._robots.keys() - self.registry.robots:
            if self._robots[name].due_s == math.inf:
                del self._robots[name]
                self.problems.placements.forget(name)

    def _robot(self, name: str) -> _Robot:
        return self._robots.setdefault(name, _Robot(RobotWatch(self._cuts)))

    def _factors(self, robot: str, settings: PlannerSettings) -> Factors:
        """By what predicted times are multiplied; they were learned in the mode in force."""
        if not (settings.corrects and settings.mode == self.settings.mode):
            return Factors.none(self._cuts)
        factors = self.watch(robot).factors()
        if self.problems.shared(robot, settings) != SHARED[0]:
            # What the others do to the server is in the share already.
            factors = replace(factors, tail=np.ones(self._cuts), tail_gap_s=0.0)
            tail = self.problems.tail_of(robot)
            if tail is not None and self.problems.is_in_pool(robot):
                load = self.overload(tail.server)
                factors = replace(factors, tail=np.full(self._cuts, load))
        return factors

    def _others(self, robot: str, settings: PlannerSettings) -> dict[str, Factors]:
        """Factors of the other robots that have an active head, where robots share something."""
        if self.problems.shared(robot, settings) == SHARED[0]:
            return {}
        heads = (device for device in self.registry.devices if device.role is Role.HEAD)
        names = {device.robot for device in heads if device.state == "active"} - {robot}
        return {name: self._factors(name, settings) for name in sorted(names)}

    def _good_enough(self, solution: Solution, entry: _Robot, now_s: float) -> Row | None:
        """What the plan in force costs by now, if the best is not worth the change."""
        assert entry.plan is not None
        evaluation, watch = solution.evaluation, entry.watch
        try:
            places = [evaluation.index_of(each) for each in _within(entry.plan)]
        except CodesignError:
            return None  # it cannot be chosen any more
        index = min(places, key=lambda place: float(evaluation.objective[place]))
        now = float(evaluation.objective[index])
        if not math.isfinite(now):
            return None  # its cost is not known any more, or over a limit
        row, best = evaluation.row(index), solution.best
        better = best.prediction.objective
        gain = math.log(now / better) if now > 0 and better > 0 else 0.0
        if self.settings.policy != OURS:
            # A peer's plan is not better by our objective: it changes when something happened.
            gain = math.inf if row != best and not watch.steadiness.is_held(now_s) else 0.0
        head = self.registry.head_of(entry.plan.robot)
        rate_error = head.link_bps_error / head.link_bps if head and head.link_bps > 0 else 0.0
        spread = watch.spread(row, best, solution.problem.objective, rate_error)
        least = self.settings.switch_gain
        return None if watch.steadiness.is_worth_it(gain, least, spread, now_s) else row


def _within(plan: Plan) -> list[Candidate]:
    """The choices among which a robot is under one plan: it takes a neck's levels as they come."""
    own = Candidate.of(plan)
    return [replace(own, codec=NECK_CODECS[each.level]) for each in plan.levels] or [own]
