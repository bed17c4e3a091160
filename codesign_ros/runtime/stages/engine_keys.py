"""Which engines a plan runs."""

from __future__ import annotations

from codesign_ros.engines.base import EngineKey
from codesign_ros.types.forms import Part
from codesign_ros.types.plan import Plan


def head_key(plan: Plan) -> EngineKey:
    """Name the engine that a plan's head runs (for a cut above 0)."""
    return EngineKey(
        "head", plan.cut, plan.head_structure, plan.merge, plan.precision, plan.has_neck
    )


def tail_key(plan: Plan) -> EngineKey:
    """Name the engine that a plan's tail runs (for a cut below N)."""
    return EngineKey(
        "tail", plan.cut, plan.tail_structure, plan.merge, plan.precision, plan.has_neck
    )


def half_key(plan: Plan, part: Part, segments: int) -> EngineKey | None:
    """Name the engine that one side of a plan runs; None where that half is empty."""
    if plan.cut == (0 if part == "head" else segments):
        return None
    return head_key(plan) if part == "head" else tail_key(plan)
