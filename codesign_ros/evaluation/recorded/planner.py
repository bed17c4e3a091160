"""A planner tested without its partners: recorded announcements through it, beside its plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Column, Table

from codesign_ros.console import link_rate, right, slim_table
from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.device import Device, Heartbeat, StageMedians
from codesign_ros.runtime.planner.policy import looks_at_operations
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.recorded import RecordedNews
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# The planner looks so often whether somebody needs a plan [s].
_TICK_S = 0.05


@dataclass(frozen=True)
class MadePlan:
    """A plan, then or now.

    Attributes:
        at_s: since the begin of the recording [s].
        plan: the plan.
        is_recorded: whether it was put in force then; else this planner makes it.
    """

    at_s: float
    plan: Plan
    is_recorded: bool

    @property
    def words(self) -> str:
        """The choice in words."""
        plan = self.plan
        if not plan.served_by:
            return f"robot alone, {plan.head_structure.value}, {plan.precision}"
        return (
            f"cut {plan.cut}, {plan.codec}, {plan.head_structure.value}/"
            f"{plan.tail_structure.value}, {plan.precision}"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        plan = self.plan
        return {
            "at_s": self.at_s,
            "robot": plan.robot,
            "by": "recorded" if self.is_recorded else "this planner",
            "epoch": plan.epoch,
            "plan": self.words,
            "predicted_ms": 1e3 * plan.latency_s,
            "link_bps": plan.link_bps,
            "reason": plan.reason,
        }


@dataclass
class PlannerReplay:
    """What came of a recording.

    Attributes:
        plans: of both, in order.
        failures: why this planner made no plan, by the line, with how often.
        both_s: how long both had a plan in force, of all robots together [s].
        same_s: how long it was the same choice [s].
    """

    plans: list[MadePlan] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    both_s: float = 0.0
    same_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {
            "plans": [plan.to_json() for plan in self.plans],
            "failures": self.failures,
            "both_s": self.both_s,
            "same_s": self.same_s,
        }


class _Replay:
    """One recording through one planner."""

    def __init__(self, runtime: PlannerRuntime) -> None:
        self.found = PlannerReplay()
        self._runtime = runtime
        self._recorded: dict[tuple[str, int], Plan] = {}
        # In force by robot: the recorded one, and this planner's.
        self._then: dict[str, Plan] = {}
        self._now: dict[str, Plan] = {}
        self._robots: dict[str, str] = {}

    def hear(self, news: RecordedNews) -> None:
        """Take what was said."""
        said, now_s = news.said, news.at_s
        if isinstance(said, Plan):
            if self._recorded.get((said.robot, said.epoch)) != said:
                self._recorded[said.robot, said.epoch] = self._then[said.robot] = said
                self.found.plans.append(MadePlan(now_s, said, is_recorded=True))
        elif isinstance(said, Device):
            self._robots[said.node] = said.robot
            self._runtime.hear(replace(said, **self._as_led_here(said)), now_s)
        else:
            self._runtime.heartbeat(replace(said, **self._as_led_here(said)), now_s)

    def _as_led_here(self, said: Heartbeat) -> dict[str, Any]:
        """What a device would say that follows this planner at once.

        What it measured counts where its plan then was the same choice as the one now.
        """
        robot = self._robots.get(said.node, "")
        now, then = self._now.get(robot), self._recorded.get((robot, said.running.epoch))
        if now is None:
            return {"epoch": 0, "running": StageMedians()}
        is_same = then is not None and Candidate.of(then) == Candidate.of(now)
        running = replace(said.running, epoch=now.epoch) if is_same else StageMedians()
        return {"epoch": now.epoch, "running": running}

    def look(self, now_s: float) -> None:
        """Do what the planner does at its every look."""
        runtime, settings = self._runtime, self._runtime.settings
        runtime.tick(now_s)
        for due in runtime.due(now_s):
            counted = looks_at_operations(settings.policy)
            runtime.costs.get_ready(settings.mode, runtime.registry.devices, counted)
            try:
                plan = runtime.next_plan(due.robot, due.reason, now_s, optional=due.optional)
            except CodesignError as error:
                line = f"no new plan for {due.robot}: {error}"
                self.found.failures[line] = self.found.failures.get(line, 0) + 1
                continue
            if plan is not None:
                runtime.adopt(plan, now_s)
                self._now[due.robot] = plan
                self.found.plans.append(MadePlan(now_s, plan, is_recorded=False))

    def pass_time(self, passed_s: float) -> None:
        """Note for how long plans were in force."""
        for robot in self._then.keys() & self._now.keys():
            self.found.both_s += passed_s
            if Candidate.of(self._then[robot]) == Candidate.of(self._now[robot]):
                self.found.same_s += passed_s


def replay_planner(
    news: Sequence[RecordedNews],
    runtime: PlannerRuntime,
    done: Callable[[], None] = lambda: None,
) -> PlannerReplay:
    """Have a planner hear a recording, on the recording's clock.

    Devices follow each of its plans at once. What they measured while running counts as far as the
    recorded plan was the same choice; the rate of the link counts always, as it was recorded.
    Engines that it wants built are not ordered.

    Args:
        news: in order.
        runtime: the planner, which has heard nothing yet.
        done: called after each.
    """
    replay, now_s = _Replay(runtime), 0.0
    for each in news:
        while now_s < each.at_s:
            step_s = min(_TICK_S, each.at_s - now_s)
            now_s += step_s
            replay.look(now_s)
            replay.pass_time(step_s)
        replay.hear(each)
        done()
    end_s = now_s + runtime.settings.debounce_s
    replay.look(end_s)
    return replay.found


def plans_table(found: PlannerReplay) -> Table:
    """One row a plan, of both planners in order of time."""
    table = slim_table(
        "plans by this planner, and those that were recorded",
        *right("at s"),
        Column("robot"),
        Column("by"),
        Column("plan"),
        *right("predicted ms", "link"),
        Column("reason", overflow="fold"),
    )
    for each in found.plans:
        plan = each.plan
        table.add_row(
            f"{each.at_s:.1f}",
            plan.robot,
            "recorded" if each.is_recorded else "this",
            each.words,
            f"{1e3 * plan.latency_s:.1f}",
            link_rate(plan.link_bps) if math.isfinite(plan.link_bps) else "-",
            plan.reason,
        )
    return table


def lines(found: PlannerReplay) -> list[str]:
    """What stands below the table."""
    said = [f"{line} ({count} times)" for line, count in found.failures.items()]
    if found.both_s > 0:
        share = found.same_s / found.both_s
        said.append(f"the same choice was in force for {share:.0%} of {found.both_s:.1f} s")
    elif not any(plan.is_recorded for plan in found.plans):
        said.append("the recording has no plans to compare with")
    return said
