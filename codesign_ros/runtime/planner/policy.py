"""Another policy's choice in the place of ours, so that policies can be compared on real nodes."""

from __future__ import annotations

from dataclasses import replace

from codesign_ros.planning.grid import Solution
from codesign_ros.planning.policies import POLICIES, Situation
from codesign_ros.planning.problem import Row
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError

OURS = "ours"
_CUT = "cut:"
_MOST_DIGITS = 6
# They go by no segment: a wait until operations are counted would only make them late.
_SIMPLE = ("device_only", "server_only")


def check_policy(name: str, last_cut: int | None = None) -> None:
    """Refuse a policy that nobody knows, or that cuts where there is no cut.

    Args:
        name: the policy.
        last_cut: the network's; None = it is not known yet.

    Raises:
        CodesignError: it is none of ``POLICIES`` and no fixed cut.
    """
    fixed = name.removeprefix(_CUT)
    is_cut = fixed != name and fixed.isdecimal() and len(fixed) <= _MOST_DIGITS
    if name not in POLICIES and not is_cut:
        raise CodesignError(
            f"unknown policy {name!r}; known are {', '.join(POLICIES)}, and {_CUT}N for the best "
            "plan that cuts after segment N"
        )
    if is_cut and last_cut is not None and int(fixed) > last_cut:
        raise CodesignError(f"cut {fixed} does not exist: cuts are 0 to {last_cut}")


def looks_at_operations(name: str) -> bool:
    """Whether a policy may look at the operations of segments, which take seconds to count."""
    return not name.startswith((OURS, _CUT, *_SIMPLE))


def under_policy(
    solution: Solution, name: str, robot: DeviceSpec | None, server: DeviceSpec | None
) -> Solution:
    """Put another policy's choice in the place of the best.

    Args:
        solution: the problem with all its candidates.
        name: a policy as in ``check_policy``. Without a server each keeps all on the robot.
        robot: the robot's peaks, for policies that need them; None = not known.
        server: those of the server.

    Raises:
        CodesignError: the policy cannot choose here, or what it chooses cannot be run here.
    """
    if name == OURS:
        return solution
    problem = solution.problem
    if not problem.server_available:
        return _with(solution, solution.device_only, name)
    if name.startswith(_CUT):
        check_policy(name, problem.tables.segments)
        return _with(solution, solution.best_at(int(name.removeprefix(_CUT))), name)
    try:
        decision = POLICIES[name].decide(Situation(problem, robot, server))
    except CodesignError as error:
        raise CodesignError(f"policy {name} cannot choose: {error}") from None
    if not decision.in_decision_space or decision.cloud_cut is not None:
        raise CodesignError(
            f"policy {name} changes what head and tail are or needs a cloud behind the server: it "
            "can be compared by 'codesign plan', and not be run"
        )
    return _with(solution, decision.row, name)


def _with(solution: Solution, row: Row | None, name: str) -> Solution:
    if row is None:
        raise CodesignError(f"policy {name}: no such plan has a known cost and keeps the limits")
    return replace(solution, best=row)
