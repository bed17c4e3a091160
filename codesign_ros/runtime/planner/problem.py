"""The co-design problem of one robot as things stand, and its solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.cost.lateness import STEADY, varies
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.problem import AllowedHalves, Problem
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.correction import corrected
from codesign_ros.runtime.planner.costs import DeviceCosts
from codesign_ros.runtime.planner.engine_wishes import Build, built, lacking, runnable
from codesign_ros.runtime.planner.policy import under_policy
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.settings import SHARED, PlannerSettings
from codesign_ros.runtime.planner.sharing import share_of, solve_at
from codesign_ros.runtime.planner.watch import FAST_BPS, Factors
from codesign_ros.types import CodesignError, LinkSpec, Plan


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
        if settings.shared != SHARED[0] and tail is not None and others:
            problems = {robot: problem} | {
                name: self._problem(name, settings, each)[2]
                for name, each in others.items()
                if self._runs_this_network(name)
            }
            names = sorted(name for name, each in problems.items() if each.links)
            common = max((problems[name].links[0] for name in names), key=_rate_bps)
            link = common if settings.shared == SHARED[2] else None
            part = share_of(names.index(robot), [problems[name] for name in names], link)
            solution = solve_at(problem, part)
        else:
            solution = grid(problem)
        robot_spec, server_spec = self._costs.spec(head), self._costs.spec(tail) if tail else None
        return under_policy(solution, settings.policy, robot_spec, server_spec)

    def _problem(
        self,
        robot: str,
        settings: PlannerSettings,
        factors: Factors,
        link_bps: float | None = None,
        *,
        in_force: Plan | None = None,
        built_only: bool = False,
    ) -> tuple[Device, Device | None, Problem]:
        """Return a robot's head, its tail and its problem as if there were no others."""
        head = self._registry.head_of(robot)
        if head is None:
            known = sorted({d.robot for d in self._registry.devices if d.role is Role.HEAD})
            raise CodesignError(
                f"no active head is registered for robot {robot!r}; "
                f"registered: {', '.join(known) or 'none'}"
            )
        if head.model_id != self._bundle.model_id:
            raise CodesignError(self._foreign(head))
        tail = self.tail_of(robot)
        tails = (tail,) if tail else ()
        axes = settings.axes(tuple(each.node for each in tails))
        tables = self._costs.tables(head, tail, settings.mode, axes)
        halves = []
        for device in (head, *tails):
            possible, notes = runnable(device, tables)
            tables = replace(tables, notes=(*tables.notes, *notes))
            if built_only:
                possible &= built(device, tables, in_force)
            halves.append(possible)
        links = tuple(_link(head, settings, link_bps) for _ in tails)
        is_late = factors.spreads != STEADY or any(map(varies, links))
        problem = Problem(
            tables=corrected(tables, factors.head, factors.tail),
            links=links,
            objective=settings.objective,
            lambda_1=settings.lambda_1,
            codecs=settings.codecs,
            frame_codecs=settings.frame_codecs,
            limits=settings.limits(self._bundle.accuracy),
            halves=AllowedHalves(halves[0], np.array(halves[1:])),
            frame_rate_hz=settings.frame_rate_hz or None,
            window=settings.window or None,
            # Where nothing varies, no frame takes longer than the others.
            late_share=settings.late_share or None if is_late else None,
            head_gap_s=factors.head_gap_s,
            tail_gap_s=factors.tail_gap_s,
            spreads=factors.spreads,
        )
        return head, tail, problem

    def labelled(self, plan: Plan, robot: str) -> Plan:
        """Write on a solution for which robot and network it is and who serves."""
        tail = self.tail_of(robot)
        all_on_robot = plan.cut == len(self._bundle.segments)
        served_by = "" if tail is None or all_on_robot else tail.node
        return replace(plan, robot=robot, model_id=self._bundle.model_id, served_by=served_by)

    def lacking(self, plan: Plan, in_force: Plan | None) -> list[Build]:
        """List the engines of a labelled plan that have to be built first."""
        both = self._registry.head_of(plan.robot), self.tail_of(plan.robot)
        devices = [device for device in both if device is not None]
        return lacking(plan, devices, in_force, len(self._bundle.segments))

    def tail_of(self, robot: str) -> Device | None:
        """The active tail that has the same network."""
        tail = self._registry.tail_of(robot)
        return tail if tail is not None and tail.model_id == self._bundle.model_id else None

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


def _rate_bps(link: LinkSpec) -> float:
    return link.bandwidth_bps


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
    return replace(link, delay_s=delay_s, downlink_delay_s=delay_s)
