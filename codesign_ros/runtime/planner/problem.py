"""The co-design problem of one robot as things stand, and its solution."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.cost.lateness import STEADY, varies
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import AllowedHalves, Problem
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.basis import Factors
from codesign_ros.runtime.planner.costs import DeviceCosts
from codesign_ros.runtime.planner.engine_wishes import Build, built, lacking, runnable
from codesign_ros.runtime.planner.learned.correction import corrected
from codesign_ros.runtime.planner.learned.payloads import with_sizes
from codesign_ros.runtime.planner.placement import Placements, over_servers
from codesign_ros.runtime.planner.policy import OURS, looks_at_operations, under_policy
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.runtime.planner.sharing import share_of, solve_at
from codesign_ros.runtime.planner.watch import FAST_BPS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.plan import Plan

# No pace is known better than this. Of plans so near to each other the one with the shortest way
# is taken: where robot, link and server are all busy nearly all the time, each waits for the others
# now and then, which the pace of the slowest does not count.
_TIE_SHARE = 0.03


class RobotProblems:
    """Makes and solves the problem of a robot's head and of the tail that may serve it.

    Args:
        bundle: the network that all share.
        costs: makes the cost tables.
        registry: who is there.
    """

    def __init__(self, bundle: Bundle, costs: DeviceCosts, registry: Registry) -> None:
        # Problems solved.
        self.solved = 0
        self.placements = Placements()
        self._bundle = bundle
        self._costs = costs
        self._registry = registry

    def solve(
        self,
        robot: str,
        settings: PlannerSettings,
        factors: Factors,
        link_bps: float | None = None,
        *,
        in_force: Plan | None = None,
        built_only: bool = False,
        others: Mapping[str, Factors] | None = None,
    ) -> Solution:
        """Solve Eq. 11 for a robot; halves that a device cannot run are not offered.

        Args:
            robot: namespace of the robot.
            settings: what to solve for.
            factors: by what the model's times are multiplied.
            link_bps: rate to use in place of the measured one [bit/s].
            in_force: the plan in force; its engines are there whatever the devices say.
            built_only: offer only halves whose engines are there.
            others: by what the times of the other robots are multiplied, by robot; they count where
                robots share something.

        Raises:
            CodesignError: the robot has no active head, a device has not measured or has no peaks,
                no candidate has a known cost, or the policy cannot choose here.
        """
        head, tail, problem = self._problem(
            robot, settings, factors, link_bps, in_force=in_force, built_only=built_only
        )
        self.solved += 1
        if self.shared(robot, settings) != SHARED[0] and tail is not None and others:
            solution = self._solve_among(robot, problem, settings, others)
        else:
            solution = grid(problem)
        robot_spec, server_spec = self._costs.spec(head), self._costs.spec(tail) if tail else None
        return under_policy(solution, settings.policy, robot_spec, server_spec)

    def place(
        self,
        robot: str,
        settings: PlannerSettings,
        factors_at: Callable[[str, str], Factors],
        now_s: float,
    ) -> None:
        """Place a robot on one of its servers where that is due.

        Args:
            robot: namespace of the robot.
            settings: what to solve for.
            factors_at: gives by what the times of a robot, and of its tail on a server, are
                multiplied.
            now_s: the time on any steady clock [s].

        Raises:
            CodesignError: as ``solve``, for this robot.
        """
        tails, before = self.tails_of(robot), self.placements.of(robot)
        if not self.placements.is_due(robot, sorted(tails), now_s):
            return
        server = next(iter(tails))
        if len(tails) > 1:
            problems = {robot: self._problems_at(robot, settings, factors_at)}
            for name in self._robots_of_this_network():
                # What keeps another from having a plan is not this one's trouble.
                with contextlib.suppress(CodesignError):
                    problems[name] = self._problems_at(name, settings, factors_at)
            problems = {name: by_server for name, by_server in problems.items() if by_server}
            link = _common_link([p for each in problems.values() for p in each.values()], settings)
            server = self.placements.best(robot, problems, link, settings.switch_gain)
        self.placements.put(robot, server, now_s, chosen=before in tails)

    def is_in_pool(self, robot: str) -> bool:
        """Whether a robot has several servers."""
        return len(self.tails_of(robot)) > 1

    def is_placement_stale(self, robot: str, now_s: float) -> bool:
        """Whether it is time to look again whether another server of a pool is better."""
        return self.placements.is_stale(robot, now_s) and self.is_in_pool(robot)

    def _problems_at(
        self, robot: str, settings: PlannerSettings, factors_at: Callable[[str, str], Factors]
    ) -> dict[str, Problem]:
        """A robot's problem with each of its servers, as if there were no others."""
        return {
            server: self._problem(robot, settings, factors_at(robot, server), tail=tail)[2]
            for server, tail in self.tails_of(robot).items()
        }

    def shared(self, robot: str, settings: PlannerSettings) -> str:
        """What robots share; those of a pool of servers always share these, one of ``SHARED``."""
        if settings.shared == SHARED[0] and self.is_in_pool(robot):
            return SHARED[1]
        return settings.shared

    def _solve_among(
        self,
        robot: str,
        problem: Problem,
        settings: PlannerSettings,
        others: Mapping[str, Factors],
    ) -> Solution:
        """Solve a robot's problem at its shares of what it shares with others."""
        problems = {robot: problem} | {
            name: self._problem(name, settings, each)[2]
            for name, each in others.items()
            if self._runs_this_network(name)
        }
        problems = {name: each for name, each in problems.items() if each.links}
        servers = {name: self._server_of(name) for name in problems}
        link = _common_link(list(problems.values()), settings)
        if link is None:
            # Those on other servers are in nobody's way.
            mine = servers[robot]
            problems = {name: each for name, each in problems.items() if servers[name] == mine}
        axis = sorted({servers[name] for name in problems})
        names = sorted(problems)
        part = share_of(
            names.index(robot),
            [over_servers({servers[name]: problems[name]}, axis) for name in names],
            link,
        )
        return solve_at(problem, part)

    def _problem(
        self,
        robot: str,
        settings: PlannerSettings,
        factors: Factors,
        link_bps: float | None = None,
        *,
        in_force: Plan | None = None,
        built_only: bool = False,
        tail: Device | None = None,
    ) -> tuple[Device, Device | None, Problem]:
        """Return a robot's head, its tail and its problem as if there were no others.

        ``tail``: another of its tails than that of the server on which it is.
        """
        head = self._registry.head_of(robot)
        if head is None:
            known = sorted({d.robot for d in self._registry.devices if d.role is Role.HEAD})
            raise CodesignError(
                f"no active head is registered for robot {robot!r}; "
                f"registered: {', '.join(known) or 'none'}"
            )
        if head.model_id != self._bundle.model_id:
            raise CodesignError(self._foreign(head))
        tail = tail or self.tail_of(robot)
        tails = (tail,) if tail else ()
        axes = settings.axes(tuple(each.node for each in tails), self._bundle.neck_codecs)
        counted = looks_at_operations(settings.policy)
        tables = self._costs.tables(head, tail, settings.mode, axes, counted)
        halves: dict[bool, list[np.ndarray]] = {False: [], True: []}
        for device, neck in itertools.product((head, *tails), (False, True)):
            possible, notes = runnable(device, tables, neck=neck)
            tables = replace(tables, notes=tuple(dict.fromkeys((*tables.notes, *notes))))
            if built_only:
                possible &= built(device, tables, in_force, neck=neck)
            halves[neck].append(possible)
        links = tuple(_link(head, settings, link_bps) for _ in tails)
        is_late = factors.spreads != STEADY or any(map(varies, links))
        tables = with_sizes(tables, factors.sizes, camera_jpegs=head.frame_bytes > 0)
        by_pace = settings.policy == OURS and settings.objective is Objective.THROUGHPUT
        problem = Problem(
            tables=corrected(tables, factors.head, factors.tail),
            links=links,
            objective=settings.objective,
            lambda_1=settings.lambda_1,
            codecs=settings.codecs,
            frame_codecs=settings.frame_codecs,
            limits=settings.limits(self._bundle.accuracy),
            halves=AllowedHalves(
                *(halves[False][0], np.array(halves[False][1:])),
                *(halves[True][0], np.array(halves[True][1:])),
            ),
            frame_rate_hz=settings.frame_rate_hz or None,
            usual_rate_hz=factors.frames_hz,
            window=settings.window or None,
            # Where nothing varies, no frame takes longer than the others.
            late_share=settings.late_share or None if is_late else None,
            head_gap_s=factors.head_gap_s,
            tail_gap_s=factors.tail_gap_s,
            spreads=factors.spreads,
            tie_share=_TIE_SHARE if by_pace else 0.0,
        )
        return head, tail, problem

    def labelled(self, plan: Plan, robot: str) -> Plan:
        """Write on a solution for which robot and network it is, who serves and who would."""
        tail = self.tail_of(robot)
        placed_on = tail.node if tail else ""
        served_by = "" if plan.cut == len(self._bundle.segments) else placed_on
        return replace(
            plan,
            robot=robot,
            model_id=self._bundle.model_id,
            served_by=served_by,
            placed_on=placed_on,
        )

    def lacking(self, plan: Plan, in_force: Plan | None) -> list[Build]:
        """List the engines of a labelled plan that have to be built first."""
        both = self._registry.head_of(plan.robot), self.tail_of(plan.robot)
        devices = [device for device in both if device is not None]
        return lacking(plan, devices, in_force, len(self._bundle.segments))

    def tail_of(self, robot: str) -> Device | None:
        """The active tail of the server on which a robot is; the first by name before it is."""
        tails = self.tails_of(robot)
        placed_on = self.placements.of(robot)
        return tails.get(placed_on or "") or next(iter(tails.values()), None)

    def tails_of(self, robot: str) -> dict[str, Device]:
        """The active tails of a robot that have the same network, by server."""
        return {
            server: tail
            for server, tail in self._registry.tails_of(robot).items()
            if tail.model_id == self._bundle.model_id
        }

    def _server_of(self, robot: str) -> str:
        tail = self.tail_of(robot)
        return tail.server if tail else ""

    def _robots_of_this_network(self) -> list[str]:
        heads = (device for device in self._registry.devices if device.role is Role.HEAD)
        return [head.robot for head in heads if self._runs_this_network(head.robot)]

    def foreign_tails(self) -> list[str]:
        """Why active tails with another network are not used, one line each."""
        return [
            self._foreign(device)
            for device in self._registry.devices
            if (device.role, device.state) == (Role.TAIL, "active")
            and device.model_id != self._bundle.model_id
        ]

    def _runs_this_network(self, robot: str) -> bool:
        head = self._registry.head_of(robot)
        return head is not None and head.model_id == self._bundle.model_id

    def _foreign(self, device: Device) -> str:
        return (
            f"{device.role.name.lower()} {device.node} runs network {device.model_id!r}, the "
            f"planner has {self._bundle.model_id!r} ({self._bundle.name}); give both the same "
            "bundle"
        )


def rate_of(head: Device, settings: PlannerSettings) -> float:
    """The link's rate: measured, or assumed until then [bit/s]."""
    return min(head.link_bps or settings.link_bps, FAST_BPS)


def _common_link(problems: Sequence[Problem], settings: PlannerSettings) -> LinkSpec | None:
    """The link that all robots share: as fast as any of them finds it; None = none is shared."""
    links = [link for problem in problems for link in problem.links]
    if settings.shared != SHARED[2] or not links:
        return None
    return max(links, key=lambda link: link.bandwidth_bps)


def _link(head: Device, settings: PlannerSettings, link_bps: float | None) -> LinkSpec:
    """The link as the head measured it, with what else is known of it.

    A shared link's rate is its own, not what the head got of it among the others.
    """
    known = settings.link
    measured_bps = rate_of(head, settings)
    if settings.shared == SHARED[2] and known is not None:
        measured_bps = known.bandwidth_bps
    rate_bps = min(link_bps or measured_bps, FAST_BPS)
    # The head measures a tiny message both ways, its answer included: half of it is each way's.
    delay_s = 0.5 * head.link_delay_s
    if known is not None:
        # How far the rate varies its states say, and not the mean's standard error.
        link = replace(known.scaled(rate_bps / known.bandwidth_bps), downlink_bps=None)
    else:
        error = head.link_bps_error / head.link_bps if head.link_bps > 0 else 0.0
        link = LinkSpec(rate_bps, bandwidth_error_bps=error * rate_bps)
    burst_bytes = head.link_burst_bytes or link.burst_bytes
    return replace(link, delay_s=delay_s, downlink_delay_s=delay_s, burst_bytes=burst_bytes)
