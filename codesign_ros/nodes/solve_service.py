"""The planner's service /codesign/solve: what would be planned with other settings."""

from __future__ import annotations

import math
from dataclasses import replace

from codesign_ros.nodes.interface.messages import plan_to_msg
from codesign_ros.planning.objective import parse_objective
from codesign_ros.runtime.planner.engine_wishes import builds_text
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.srv import Solve
from codesign_ros.types.errors import CodesignError


def answer_what_if(
    runtime: PlannerRuntime, request: Solve.Request, response: Solve.Response
) -> None:
    """Fill in an answer; the runtime's lock is held, and nothing of it changes.

    The answer is over all engines that could be built; its message names those of the best plan
    that are not.

    Raises:
        CodesignError: the request makes no sense, or nothing can be planned.
    """
    if not math.isfinite(request.lambda_1):
        raise CodesignError(f"lambda_1 must be a finite number, not {request.lambda_1}")
    if not 0 <= request.link_bps < math.inf:
        raise CodesignError(f"link_bps must be 0 or a finite rate, not {request.link_bps}")
    settings = runtime.settings
    if request.mode:
        settings = replace(settings, mode=request.mode)
    if request.objective:
        settings = replace(settings, objective=parse_objective(request.objective))
    if request.lambda_1 >= 0:
        settings = replace(settings, lambda_1=request.lambda_1)
    robots = sorted({device.robot for device in runtime.registry.devices})
    robot = request.robot or (robots[0] if len(robots) == 1 else "")
    solution = runtime.solve(robot, settings, request.link_bps or None)
    lacking = runtime.lacking(robot, solution.plan)
    if lacking:
        response.message = f"not built yet: {builds_text(lacking)}"
    response.plan = plan_to_msg(runtime.problems.labelled(solution.plan, robot))
    for row, name in (
        (solution.device_only, "device_only"),
        (solution.server_only, "server_only"),
    ):
        if row is not None:
            plan = runtime.problems.labelled(solution.plan_of(row), robot)
            setattr(response, name, plan_to_msg(plan))
