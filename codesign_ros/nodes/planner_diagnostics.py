"""What the planner says in /diagnostics."""

from __future__ import annotations

from typing import Any

from codesign_ros.planning.objective import Objective
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.watch import RobotWatch
from codesign_ros.types.plan import Plan


def report(runtime: PlannerRuntime) -> dict[str, Any]:
    """Devices and plans in force; the runtime's lock is held."""
    values: dict[str, Any] = {"solved": runtime.problems.solved, "kept": runtime.kept}
    if runtime.waiting:
        values["devices not in the graph"] = runtime.waiting
    for device in runtime.registry.devices:
        values[f"device {device.node}"] = device.state
        if device.throttled:
            values[f"throttled {device.node}"] = device.throttled
    for robot in sorted({device.robot for device in runtime.registry.devices}):
        if building := runtime.building(robot):
            values[f"building {robot}"] = building
        if notes := runtime.notes(robot):
            values[f"notes {robot}"] = "; ".join(notes)
    for robot, plan in runtime.plans.items():
        values[f"plan {robot}"] = (
            f"epoch {plan.epoch}, cut {plan.cut}, served by "
            f"{plan.served_by or 'the robot alone'}: {plan.reason}"
        )
        values |= _account(robot, plan, runtime.watch(robot), runtime.settings.objective)
    return values


def _account(robot: str, plan: Plan, watch: RobotWatch, objective: Objective) -> dict[str, str]:
    """Say what a robot's plan was expected to take, what it takes, and what was learned from it."""
    values = {}
    if watch.prediction is not None:
        values[f"latency predicted ms {robot}"] = f"{watch.prediction.latency_s * 1e3:.2f}"
    if watch.prediction is not None and watch.measured is not None:
        predicted_s, measured_s = watch.prediction.latency_s, watch.measured.latency_s
        values[f"latency measured ms {robot}"] = f"{measured_s * 1e3:.2f}"
        values[f"error % {robot}"] = f"{100 * (predicted_s / measured_s - 1):+.1f}"
    factors = watch.factors(objective)
    for (cut, family), sized in factors.sizes.items():
        values[f"payload of {family} at cut {cut} {robot}"] = (
            f"{sized.factor:.2f} of the profile's, {100 * sized.spread:.0f} % from frame to frame"
        )
    return values | {
        f"correction head {robot}": f"{factors.head[plan.cut]:.2f}",
        f"correction tail {robot}": f"{factors.tail[plan.cut]:.2f}",
    }
