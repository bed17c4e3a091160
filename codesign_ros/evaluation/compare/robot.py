"""One policy's robot: each frame under the plan in force then, with the network's own answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import simpy

from codesign_ros.evaluation.compare.answers import Answers
from codesign_ros.evaluation.compare.outcome import Outcome, PlanInForce
from codesign_ros.planning.problem import Problem
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.simulation.line import Line, Process
from codesign_ros.simulation.link_rate import LinkRate, StateRate
from codesign_ros.simulation.pipeline import Finished, Passage, Pipeline, Way
from codesign_ros.simulation.planner import LivePlanner, Planned
from codesign_ros.simulation.work import Work
from codesign_ros.types.codec_names import rate_levels_of
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.plan import Plan

# The head measures the link so long before the first frame, and looks so often at its plan [s].
_WARM_S, _LOOK_S = 10.0, 0.5


@dataclass(frozen=True)
class SimulatedLink:
    """The link.

    Attributes:
        rate: of the uplink over time.
        delay_s: from the robot to the server [s].
        back_s: an answer's way back [s].
    """

    rate: LinkRate
    delay_s: float = 0.0
    back_s: float = 0.0


@dataclass(frozen=True)
class Conditions:
    """What all policies have alike.

    Attributes:
        problem: what can be chosen and what it costs, with one server.
        link: the simulated link.
        robot, server: their peaks, for policies that look at them; None = not known.
        queue_depth: frames that may wait for the robot.
    """

    problem: Problem
    link: SimulatedLink
    robot: DeviceSpec | None = None
    server: DeviceSpec | None = None
    queue_depth: int = HeadSettings().queue_depth


class Robot:
    """Runs frames under one policy; ``Stations`` of its pipeline.

    Args:
        policy: its name.
        conditions: what all have alike.
        answers: the network.
        transform: applied to every answer, as leaving out classes that do not count.
        name: what it is called in reports; empty = as the policy.

    Raises:
        CodesignError: the policy cannot choose here.
    """

    def __init__(
        self,
        policy: str,
        conditions: Conditions,
        answers: Answers,
        transform: Callable[[Answer], Answer] = lambda answer: answer,
        name: str = "",
    ) -> None:
        self.policy = name or policy
        self._env = env = simpy.Environment(initial_time=-_WARM_S)
        link = conditions.link
        uplink = Line(env, link.rate, link.delay_s, overhead_bytes=OVERHEAD_BYTES)
        # An answer's own time is in the delay.
        downlink = Line(env, StateRate(LinkSpec(1.0)), link.back_s)
        way = Way(uplink, downlink, simpy.Resource(env))
        deadline_s = HeadSettings().deadline_s
        self._pipeline = Pipeline(env, self, way, conditions.queue_depth, deadline_s)
        self._pipeline.probe()
        env.run(until=0.0)
        devices = conditions.robot, conditions.server
        self._planner = LivePlanner(policy, conditions.problem, devices, self._pipeline.meter)
        env.process(self._look())
        self._passages: dict[int, Passage] = {}
        # How many came, and how many have their results, as all before them.
        self._offered = self._settled = 0
        self._answers = answers
        self._transform = transform
        self._last_cut = conditions.problem.tables.segments
        self._found: dict[int, Answer] = {}
        # Answers for frames that are not finished, the robot's own for those it computes alone.
        self._asked: dict[tuple[int, bool], Answer] = {}
        self._level: tuple[int, RateLevelChoice] | None = None

    def offer(self, number: int, arrival_s: float | None, window: int) -> None:
        """Take in the next frame; without a time it comes when the window has room [s]."""
        env = self._env
        if arrival_s is None:
            self._work_until_result(number - window)
        elif arrival_s > env.now:
            env.run(until=arrival_s)
        self._offered = number + 1
        self._pipeline.take(number)
        # An idle robot begins with it, before another one can push it out.
        while env.peek() <= env.now:
            env.step()

    @property
    def oldest(self) -> int:
        """The first frame that has no result yet."""
        while self._settled in self._passages:
            self._settled += 1
        return self._settled

    def _work_until_result(self, number: int) -> None:
        """Let time go on until a frame has its result, as all before it."""
        while self.oldest <= number:
            self._env.step()

    def finish(self) -> Outcome:
        """Work off what is there."""
        self._work_until_result(self._offered - 1)
        passages = [self._passages[number] for number in range(self._offered)]
        plans = [
            PlanInForce.of(each.plan, each.since_s, each.rate_bps, self._last_cut)
            for each in self._planner.plans
        ]
        return Outcome(self.policy, tuple(passages), self._found, tuple(plans))

    def asks(self, number: int, now_s: float, *, alone: bool) -> Work:
        """See ``Stations``."""
        planned = self._planner.plans[-1]
        plan = planned.plan
        if alone and plan.cut < self._last_cut:
            row = self._planner.alone
            plan = planned.solution.plan_of(row)
            self._answer(number, plan, plan.codec, alone)
            return Work(row.prediction.head_s)
        choice = self._choice(planned)
        codec = rate_levels_of(plan.codec)[choice.choose()] if choice else plan.codec
        payload_bytes = self._answer(number, plan, codec, alone)
        cost = planned.cost(codec)
        if plan.cut == self._last_cut:
            return Work(cost.head_s)
        if choice:
            choice.sent(choice.level, payload_bytes)
        rate_bps = self._planner.rate_bps or planned.rate_bps
        on_link_s = 8 * payload_bytes / rate_bps
        return Work(cost.head_s, payload_bytes, cost.tail_s, is_sent=True, on_link_s=on_link_s)

    def settled(self, passage: Passage) -> None:
        """See ``Stations``."""
        number, finished = passage.number, passage.finished
        self._passages[number] = passage
        if finished is not Finished.DROPPED:
            # A late answer of the server may come while the robot works on its own.
            self._found[number] = self._asked[number, finished is Finished.FALLBACK]
        for alone in (False, True):
            self._asked.pop((number, alone), None)

    def _look(self) -> Process:
        while True:
            self._planner.look(float(self._env.now))
            yield self._env.timeout(_LOOK_S)

    def _answer(self, number: int, plan: Plan, codec: str, alone: bool) -> int:
        """Have a frame computed; returns what crosses the cut [bytes]."""
        replayed = self._answers.of(number, plan, codec)
        self._asked[number, alone] = self._transform(replayed.answer)
        return replayed.payload_bytes

    def _choice(self, planned: Planned) -> RateLevelChoice | None:
        """What chooses the rate level under a plan; None where its codec stays."""
        if not rate_levels_of(planned.plan.codec):
            return None
        if self._level is None or self._level[0] != planned.plan.epoch:
            choice = RateLevelChoice(planned.plan, lambda: self._planner.rate_bps)
            self._level = planned.plan.epoch, choice
        return self._level[1]
