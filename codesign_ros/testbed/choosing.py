"""Putting another policy in force on running nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codesign_ros.nodes.observer import Observer
from codesign_ros.testbed.setup import PLANNER
from codesign_ros.types.errors import CodesignError

PLAN_TIMEOUT_S = 180.0


def choose(
    policy: str,
    observers: Mapping[str, Observer],
    wait: Callable[[Callable[[], bool], str, float], None],
    timeout_s: float = PLAN_TIMEOUT_S,
) -> None:
    """Let another policy choose, and wait for its plan for each robot.

    Args:
        policy: its name, or ``cut:N``.
        observers: of the robots, by namespace; the first one tells the planner.
        wait: waits for a condition, given what for and how long [s].
        timeout_s: how long the plans may take [s].

    Raises:
        CodesignError: the planner does not know it, or it cannot choose here.
    """
    seen = {robot: len(observer.plans) for robot, observer in observers.items()}
    first = next(iter(observers.values()))
    first.set_parameter(PLANNER, "policy", policy)
    told = f"policy set to {policy}"

    def planned(robot: str) -> bool:
        news = observers[robot].plans[seen[robot] :]
        refused = first.messages.get(PLANNER, "").partition(f"policy {policy} ")
        if refused[1]:
            raise CodesignError(f"{refused[1]}{refused[2]}".partition(";")[0])
        return any(told in plan.reason for _, plan in news)

    wait(lambda: all(map(planned, observers)), f"the plan of policy {policy}", timeout_s)
