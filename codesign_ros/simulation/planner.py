"""A policy that plans while frames flow: anew when the rate that the robot measures is another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.problem import CandidateCost, Problem
from codesign_ros.runtime.link.meter import LinkMeter
from codesign_ros.runtime.planner.policy import under_policy
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# The planner's news of the link (``runtime/planner/watch.py``): the rate is so many times off, in
# so many rounds, and a payload of this size then takes so much longer or shorter [s].
_OTHER_RATE, _OUT_OF_BAND = 1.25, 2
_REFERENCE_BYTES, _LEAST_CHANGE_S = 32_768, 0.005


@dataclass(frozen=True)
class Planned:
    """A plan that was put in force.

    Attributes:
        since_s: from when on [s].
        solution: what was solved; its plan is in force.
        rate_bps: of the link, planned with [bit/s].
        plan: the plan, numbered.
    """

    since_s: float
    solution: Solution
    rate_bps: float
    plan: Plan

    def cost(self, codec: str) -> CandidateCost:
        """What the plan costs with a codec, its own or one of its levels'."""
        evaluation, own = self.solution.evaluation, self.solution.best
        if codec == own.candidate.codec:
            return own.prediction
        choice = replace(own.candidate, codec=codec)
        return evaluation.row(evaluation.index_of(choice)).prediction


class LivePlanner:
    """Keeps one policy's plan.

    Args:
        policy: its name, or ``cut:N``; see ``runtime.planner.policy``.
        problem: with one server; the rate of its link is replaced by the measured one.
        devices: peaks of robot and server, for policies that look at them; None = not known.
        meter: what the robot knows of its link.

    Raises:
        CodesignError: the policy cannot choose here.
    """

    def __init__(
        self,
        policy: str,
        problem: Problem,
        devices: tuple[DeviceSpec | None, DeviceSpec | None],
        meter: LinkMeter,
    ) -> None:
        self._policy = policy
        self._problem = problem
        self._devices = devices
        self._meter = meter
        self._gain = PlannerSettings().switch_gain
        self._out_of_band = 0
        self.plans: list[Planned] = []
        self._adopt(0.0, self._rate_bps, self._solve(self._rate_bps))
        # Whoever computes on the robot alone does it as the planner's stand-by.
        alone = self.plans[0].solution.device_only
        if alone is None:
            raise CodesignError(f"policy {policy}: the robot cannot run the whole network")
        self.alone = alone

    @property
    def rate_bps(self) -> float:
        """The rate that the robot measures [bit/s]; 0 = not known."""
        return self._meter.bandwidth_bps

    @property
    def _rate_bps(self) -> float:
        """The rate to plan with [bit/s]: where it was not learned, what is said of the link."""
        return self.rate_bps or self._problem.links[0].bandwidth_bps

    def _solve(self, rate_bps: float) -> Solution:
        known = self._problem.links[0]
        # As on real nodes the measured rate is the mean, and the states' rates keep their ratios.
        link = replace(
            known.scaled(rate_bps / known.bandwidth_bps), downlink_bps=known.downlink_bps
        )
        problem = replace(self._problem, links=(link,))
        return under_policy(grid(problem), self._policy, *self._devices)

    def _adopt(self, now_s: float, rate_bps: float, solution: Solution) -> None:
        plan = replace(solution.plan, epoch=len(self.plans) + 1)
        self.plans.append(Planned(now_s, solution, rate_bps, plan))

    def look(self, now_s: float) -> None:
        """Plan anew where the rate has left its band, and the other plan is enough better."""
        current = self.plans[-1]
        measured_bps, planned_bps = self._rate_bps, current.rate_bps
        change_s = 8 * _REFERENCE_BYTES * abs(1 / measured_bps - 1 / planned_bps)
        doubt = self._meter.error_bps / measured_bps
        inside = abs(math.log(measured_bps / planned_bps)) <= max(math.log(_OTHER_RATE), doubt)
        self._out_of_band = 0 if inside or change_s < _LEAST_CHANGE_S else self._out_of_band + 1
        if self._out_of_band < _OUT_OF_BAND:
            return
        self._out_of_band = 0
        solution = self._solve(measured_bps)
        if self._is_better(solution, current):
            self._adopt(now_s, measured_bps, solution)
        else:  # the plan stays, and is held against this rate from now on
            kept = replace(current.solution, evaluation=solution.evaluation)
            self.plans[-1] = replace(current, rate_bps=measured_bps, solution=kept)

    def _is_better(self, solution: Solution, current: Planned) -> bool:
        """Whether a plan differs from the one in force and is worth the change."""
        choice = current.solution.best.candidate
        if solution.best.candidate == choice:
            return False
        here = solution.evaluation.row(solution.evaluation.index_of(choice)).prediction
        return solution.best.prediction.objective < (1 - self._gain) * here.objective
