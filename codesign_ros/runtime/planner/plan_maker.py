"""Solves for one robot after another, and knows what each has and what it lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from codesign_ros.planning.grid import Solution
from codesign_ros.planning.problem import Candidate, Row
from codesign_ros.runtime.device import Role
from codesign_ros.runtime.planner.basis import Basis, Factors
from codesign_ros.runtime.planner.engine_wishes import Build, builds_text
from codesign_ros.runtime.planner.numbering import Numbering, Straying
from codesign_ros.runtime.planner.policy import OURS
from codesign_ros.runtime.planner.problem import RobotProblems, rate_of
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.runtime.planner.watch import RobotWatch
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


@dataclass
class Robot:
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


class PlanMaker:
    """Makes the next plan of a robot.

    Args:
        robots: what is known of each, made where it is asked for.
        registry: who is there.
        problems: what is solved.
        numbering: gives epochs.
        cuts: N+1, the number of cuts.
        session: the number of this planner's start, which every plan carries.
        settings: what to solve for.
        request: told of a robot that needs a plan since another moved, why, when [s].
    """

    def __init__(
        self,
        robots: Mapping[str, Robot],
        registry: Registry,
        problems: RobotProblems,
        numbering: Numbering,
        *,
        cuts: int,
        session: int,
        settings: Callable[[], PlannerSettings],
        request: Callable[[str, str, float], None],
    ) -> None:
        # Plans that stayed because no other was enough better.
        self.kept = 0
        self._robots = robots
        self._registry = registry
        self._problems = problems
        self._numbering = numbering
        self._cuts = cuts
        self._session = session
        self._settings = settings
        self._request = request

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
        entry = self._robots[robot]
        entry.wanted = ()
        head = self._registry.head_of(robot)
        if head is None:
            return None
        if moved := self._place(robot, now_s):
            reason, optional = f"{reason}; {moved}", False
        factors, rate_bps = self._factors(robot, self._settings()), rate_of(head, self._settings())
        entry.watch.solved(factors, rate_bps, head.frame_bytes > 0, now_s)
        best = self.solve(robot, self._settings())
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
        plan = self._problems.labelled(solution.plan, robot)
        epoch = self._numbering.next({device.epoch for device in self._registry.devices_of(robot)})
        plan = replace(
            plan,
            epoch=epoch,
            planner=self._session,
            reason=reason,
            # What its first frames will take: whoever waits for them has the load of this moment.
            head_s=plan.head_s * math.exp(factors.head_passing),
            tail_s=plan.tail_s * math.exp(factors.tail_passing),
        )
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

    def adopt(self, plan: Plan, now_s: float) -> None:
        """Note that a plan is in force: the last one that ``next_plan`` gave for its robot."""
        entry = self._robots[plan.robot]
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
        return self._problems.solve(robot, settings, factors, link_bps, others=others)

    def _place(self, robot: str, now_s: float) -> str:
        """Place a robot on one of its servers; returns what moved, one line, or nothing.

        Others on the two servers have other shares then.
        """
        placements = self._problems.placements
        before = placements.of(robot)
        self._problems.place(robot, self._settings(), self._factors_at, now_s)
        now = placements.of(robot)
        if now == before:
            return ""
        moved = f"{robot} moved from {before} to {now}" if before else f"{robot} is on {now} now"
        for other in self._robots:
            is_there = other != robot and placements.of(other) in (before, now)
            if is_there and self._problems.is_in_pool(other):
                self._request(other, moved, now_s)
        return moved if before else ""

    def _factors_at(self, robot: str, server: str) -> Factors:
        """By what the times of a robot would be multiplied on a server of its pool."""
        factors = self._factors(robot, self._settings())
        if not self._settings().corrects:
            return factors
        return replace(factors, tail=np.full(self._cuts, self.overload(server)), tail_gap_s=0.0)

    def overload(self, server: str) -> float:
        """How many times longer a server takes than its robots' shares of it explain, at least 1.

        By what its robots find now; where there are none, by what those found who were there.
        """
        found: dict[bool, list[float]] = {True: [], False: []}
        for name, robot in self._robots.items():
            for node, factor in robot.watch.tail_loads().items():
                tail = self._registry.announced(node)
                if tail is not None and tail.server == server:
                    is_here = self._problems.placements.of(name) == server
                    found[is_here].append(factor)
        return max(1.0, median(found[True] or found[False] or [1.0]))

    def _built(self, robot: str, best: Solution, factors: Factors) -> tuple[Solution, float]:
        """The best that can be put in force at once, and how much worse it is [s].

        What the best of all lacks is wanted, if it is enough better.
        """
        entry = self._robots[robot]
        lacking = self.lacking(robot, best.plan)
        if not lacking:
            return best, 0.0
        try:
            built = self._problems.solve(
                robot,
                self._settings(),
                factors,
                in_force=entry.watch.plan,
                built_only=True,
                others=self._others(robot, self._settings()),
            )
        except CodesignError as error:
            entry.wanted = lacking
            raise CodesignError(f"{self.building(robot)}; of what is built, {error}") from None
        now_s = built.best.prediction.objective
        gain_s = now_s - best.best.prediction.objective
        if gain_s > 0 and gain_s >= self._settings().switch_gain * abs(now_s):
            entry.wanted = lacking
        return built, gain_s

    def lacking(self, robot: str, plan: Plan) -> tuple[Build, ...]:
        """The engines that have to be built before a solution can be put in force."""
        labelled = self._problems.labelled(plan, robot)
        return tuple(self._problems.lacking(labelled, self._robots[robot].watch.plan))

    def building(self, robot: str) -> str:
        """What is being built so that the robot may have a better plan; empty if nothing is."""
        builds = self._robots[robot].wanted
        verb = "is" if len(builds) == 1 else "are"
        return f"{builds_text(builds)} {verb} being built" if builds else ""

    def _factors(self, robot: str, settings: PlannerSettings) -> Factors:
        """By what predicted times are multiplied; they were learned in the mode in force."""
        if not (settings.corrects and settings.mode == self._settings().mode):
            return Factors.none(self._cuts)
        factors = self._robots[robot].watch.factors(settings.objective)
        if self._problems.shared(robot, settings) == SHARED[0]:
            # How often a robot has frames is nobody's business then.
            factors = replace(factors, frames_hz=None)
        else:
            # What the others do to the server is in the share already.
            factors = replace(factors, tail=np.ones(self._cuts), tail_gap_s=0.0, tail_passing=0.0)
            tail = self._problems.tail_of(robot)
            if tail is not None and self._problems.is_in_pool(robot):
                load = self.overload(tail.server)
                factors = replace(factors, tail=np.full(self._cuts, load))
        return factors

    def _others(self, robot: str, settings: PlannerSettings) -> dict[str, Factors]:
        """Factors of the other robots that have an active head, where robots share something."""
        if self._problems.shared(robot, settings) == SHARED[0]:
            return {}
        heads = (device for device in self._registry.devices if device.role is Role.HEAD)
        names = {device.robot for device in heads if device.state == "active"} - {robot}
        return {name: self._factors(name, settings) for name in sorted(names)}

    def _good_enough(self, solution: Solution, entry: Robot, now_s: float) -> Row | None:
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
        if self._settings().policy != OURS:
            # A peer's plan is not better by our objective: it changes when something happened.
            gain = math.inf if row != best and not watch.steadiness.is_held(now_s) else 0.0
        head = self._registry.head_of(entry.plan.robot)
        rate_error = head.link_bps_error / head.link_bps if head and head.link_bps > 0 else 0.0
        spread = watch.spread(row, best, solution.problem.objective, rate_error)
        least = self._settings().switch_gain
        return None if watch.steadiness.is_worth_it(gain, least, spread, now_s) else row


def _within(plan: Plan) -> list[Candidate]:
    """The choices among which a robot is under one plan: it takes its levels as they come."""
    own = Candidate.of(plan)
    return [replace(own, codec=codec) for codec in plan.level_codecs]
