"""One policy's robot: each frame under the plan in force then, with the network's own answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codesign_ros.evaluation.compare.answers import Answers
from codesign_ros.evaluation.compare.pipeline import Finished, Passage, Pipeline, Way, Work
from codesign_ros.evaluation.compare.planner import LivePlanner, Planned
from codesign_ros.planning.problem import Problem
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.types import DeviceSpec, Plan, rate_levels_of


@dataclass(frozen=True)
class Conditions:
    """What all policies have alike.

    Attributes:
        problem: what can be chosen and what it costs, with one server.
        way: the simulated link.
        robot, server: their peaks, for policies that look at them; None = not known.
        queue_depth: frames that may wait for the robot.
    """

    problem: Problem
    way: Way
    robot: DeviceSpec | None = None
    server: DeviceSpec | None = None
    queue_depth: int = 3


@dataclass(frozen=True)
class Outcome:
    """What came of a policy's run.

    Attributes:
        policy: its name.
        passages: of all frames, in order.
        answers: of the frames that were answered, by number.
        planned: the plan of each frame, by number, as its place in ``plans``.
        plans: those that were in force, one after the other.
    """

    policy: str
    passages: tuple[Passage, ...]
    answers: dict[int, Answer]
    planned: dict[int, int]
    plans: tuple[Planned, ...]

    def is_answered(self, passage: Passage) -> bool:
        """Whether a frame has an answer of the network."""
        return passage.finished is not Finished.DROPPED

    def published_s(self) -> np.ndarray:
        """When the result of each frame came out, in the order of the frames [s]."""
        return np.maximum.accumulate([passage.done_s for passage in self.passages])

    def responses_s(self) -> np.ndarray:
        """Arrival to result of each frame; infinite where it was dropped [s]."""
        arrivals_s = [passage.arrival_s for passage in self.passages]
        answered = [self.is_answered(passage) for passage in self.passages]
        return np.where(answered, self.published_s() - arrivals_s, np.inf)


class Robot:
    """Runs frames under one policy; ``Stations`` of its pipeline.

    Args:
        policy: its name.
        conditions: what all have alike.
        answers: the network.
        transform: applied to every answer, as leaving out classes that do not count.

    Raises:
        CodesignError: the policy cannot choose here.
    """

    def __init__(
        self,
        policy: str,
        conditions: Conditions,
        answers: Answers,
        transform: Callable[[Answer], Answer] = lambda answer: answer,
    ) -> None:
        self.policy = policy
        devices = conditions.robot, conditions.server
        self._planner = LivePlanner(policy, conditions.problem, devices, conditions.way)
        self._pipeline = Pipeline(self, conditions.way, conditions.queue_depth)
        self._answers = answers
        self._transform = transform
        self._last_cut = conditions.problem.tables.segments
        self._found: dict[int, Answer] = {}
        self._planned: dict[int, int] = {}
        self._level: tuple[int, RateLevelChoice] | None = None

    def offer(self, number: int, arrival_s: float | None, window: int) -> None:
        """Take in the next frame; without a time it comes when the window has room [s]."""
        if arrival_s is None:
            arrival_s = self._pipeline.settled_s(number - window) if number >= window else 0.0
        self._pipeline.offer(number, arrival_s)

    @property
    def oldest(self) -> int:
        """The first frame that may still be asked for."""
        return self._pipeline.oldest

    def finish(self) -> Outcome:
        """Work off what is there."""
        passages = self._pipeline.finish()
        plans = self._planner.plans
        return Outcome(self.policy, tuple(passages), self._found, self._planned, tuple(plans))

    def work(self, number: int, now_s: float, *, alone: bool) -> Work:
        """See ``Stations``."""
        planned = self._planner.at(now_s)
        self._planned[number] = len(self._planner.plans) - 1
        plan = planned.plan
        if alone and plan.cut < self._last_cut:
            row = self._planner.alone
            plan = planned.solution.plan_of(row)
            self._answer(number, plan, plan.codec)
            return Work(row.prediction.head_s)
        choice = self._choice(planned)
        codec = rate_levels_of(plan.codec)[choice.choose()] if choice else plan.codec
        payload_bytes = self._answer(number, plan, codec)
        cost = planned.cost(codec)
        if plan.cut == self._last_cut:
            return Work(cost.head_s)
        if choice:
            choice.sent(choice.level, payload_bytes)
        rate_bps = self._planner.rate_bps or planned.rate_bps
        return Work(cost.head_s, payload_bytes, cost.tail_s, 8 * payload_bytes / rate_bps)

    def crossed(self, size_bytes: int, sent_s: float, answered_s: float, remote_s: float) -> None:
        """See ``Stations``."""
        self._planner.link.transfer(size_bytes, sent_s, answered_s, remote_s)

    def _answer(self, number: int, plan: Plan, codec: str) -> int:
        """Have a frame computed; returns what crosses the cut [bytes]."""
        replayed = self._answers.of(number, plan, codec)
        self._found[number] = self._transform(replayed.answer)
        return replayed.payload_bytes

    def _choice(self, planned: Planned) -> RateLevelChoice | None:
        """What chooses the rate level under a plan; None where its codec stays."""
        if not rate_levels_of(planned.plan.codec):
            return None
        if self._level is None or self._level[0] != planned.plan.epoch:
            choice = RateLevelChoice(planned.plan, lambda: self._planner.rate_bps)
            self._level = planned.plan.epoch, choice
        return self._level[1]
