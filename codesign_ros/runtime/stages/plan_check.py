"""Whether a bundle can follow a plan."""

from __future__ import annotations

from codesign_ros.bundle import Bundle
from codesign_ros.types.codec_names import NECK_CODECS, rate_levels_of
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan
from codesign_ros.wire.codecs import plannable


def check_plan(plan: Plan, bundle: Bundle) -> None:
    """Refuse a plan that this bundle cannot follow.

    Raises:
        CodesignError: the plan is for another network, has a cut that this one does not have, or a
            codec or rate levels that cannot carry what crosses there.
    """
    if plan.model_id != bundle.model_id:
        raise CodesignError(
            f"the plan is for network {plan.model_id!r}, this node has {bundle.model_id!r} "
            f"({bundle.name}); start head, tail and planner with the same bundle"
        )
    last = bundle.last_cut
    if not 0 <= plan.cut <= last:
        raise CodesignError(f"cut {plan.cut} does not exist; cuts are 0 to {last}")
    necks = [neck for neck in bundle.necks if neck.cut == plan.cut]
    of_neck = NECK_CODECS[: necks[0].levels] if necks else ()
    levels = len(of_neck if plan.has_neck else rate_levels_of(plan.codec))
    if plan.levels and max(each.level for each in plan.levels) >= levels:
        raise CodesignError(
            f"the plan has rate levels that codec {plan.codec!r} has not: it has {levels}"
        )
    if plan.codec in of_neck:
        return
    for spec in bundle.crossings[plan.cut] if plan.cut < last else ():
        usable = plannable(spec, plan.cut)
        if plan.codec not in usable:
            raise CodesignError(
                f"codec {plan.codec!r} cannot carry tensor {spec.name!r} at cut {plan.cut}; "
                f"usable: {', '.join((*usable, *of_neck))}"
            )
