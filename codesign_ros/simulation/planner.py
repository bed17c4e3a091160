"""A robot's planner in simulated time: the running planner's rule for changes, our objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import simpy

from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Candidate, Problem
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.runtime.planner.steadiness import Steadiness
from codesign_ros.simulation.line import Process
from codesign_ros.simulation.robot import Robot
from codesign_ros.simulation.work import Work

# How often it looks [s], and by how much a rate must change for it to be an event [log].
_PERIOD_S, _NEW_RATE = 1.0, 0.3


class SimulatedPlanner:
    """Solves Eq. 11 anew by what the robot's link is measured to be, and changes the plan.

    The rate is what the head's own ``LinkMeter`` makes of simulated frames and probes; whether a
    change is worth it is decided by the planner's ``Steadiness``.

    Args:
        env: simulated time.
        robot: whose plan it makes.
        problem: what can be chosen, with one server and its link as it was planned with at first.
        told: told of each plan and the rate that it was made for [bit/s].
    """

    def __init__(
        self,
        env: simpy.Environment,
        robot: Robot,
        problem: Problem,
        told: Callable[[Candidate, float], None] = lambda candidate, rate_bps: None,
    ) -> None:
        self._env, self._robot, self._problem, self._told = env, robot, problem, told
        self._steadiness = Steadiness(float(env.now))
        self._rate_bps = problem.links[0].bandwidth_bps
        self._candidate: Candidate | None = None
        self._choose()
        robot.probe()
        env.process(self._run())

    def _run(self) -> Process:
        while True:
            yield self._env.timeout(_PERIOD_S)
            known_bps = self._robot.meter.bandwidth_bps
            if known_bps > 0:
                if abs(math.log(known_bps / self._rate_bps)) > _NEW_RATE:
                    self._steadiness.event(float(self._env.now))
                self._rate_bps = known_bps
            self._choose()

    def _choose(self) -> None:
        links = (self._problem.links[0].at_rate(self._rate_bps),)
        solution = grid(replace(self._problem, links=links))
        best, now_s = solution.best, float(self._env.now)
        if self._candidate is not None:
            if best.candidate == self._candidate:
                return
            evaluation = solution.evaluation
            held = evaluation.row(evaluation.index_of(self._candidate)).prediction.objective
            gain = math.log(held / best.prediction.objective)
            if not self._steadiness.is_worth_it(gain, PlannerSettings().switch_gain, 0.0, now_s):
                return
            self._steadiness.switched(now_s, self._steadiness.cost_s, chosen=True)
        self._candidate = best.candidate
        answer_bytes = self._problem.tables.answer_bytes or 0.0
        is_sent = bool(best.candidate.server)
        self._robot.follow(Work.of_cost(best.prediction, is_sent, answer_bytes))
        self._told(best.candidate, self._rate_bps)
