"""Parts of ours that can be taken away one at a time, and the policies that lack them."""

from __future__ import annotations

from collections.abc import Sequence

WITHOUT_LATE_SHARE, WITHOUT_CORRECTION = "wo_late_share", "wo_correction"
"""Ours with other settings of the planner; all others are policies of their own."""

PARTS = {
    "wo_roofline": "cut (roofline strategy)",
    "wo_dynamic_structure": "dynamic structure",
    "wo_multi_objective": "multi-objective",
    "wo_codec": "codec",
    "wo_neck": "bottleneck (neck)",
    "wo_precision": "precision",
    WITHOUT_LATE_SHARE: "late share",
    WITHOUT_CORRECTION: "correction",
}
"""What each lacks."""


def parts_here(
    *, has_neck: bool, precisions: Sequence[str], late_share: float, is_run: bool
) -> tuple[list[str], list[str]]:
    """Say which parts ours has here, so that they can be taken away.

    Args:
        has_neck: whether the network has a neck.
        precisions: those that are offered.
        late_share: see ``Problem``; 0 = the mean time counts.
        is_run: whether real nodes run; simulated devices take what is said of them.

    Returns:
        The policies without one each, and why others are left out, one line each.
    """
    needs = {
        "wo_neck": (has_neck, "the bundle has no neck"),
        "wo_precision": (len(precisions) > 1, "one is offered: give several to --precision"),
        WITHOUT_LATE_SHARE: (
            late_share > 0,
            "ours goes by mean times: give --late-share, and a link with states",
        ),
        WITHOUT_CORRECTION: (
            is_run,
            "simulated devices take as long as is said of them: --live or --testbed",
        ),
    }
    missing = {policy: why for policy, (is_there, why) in needs.items() if not is_there}
    said = [f"not taken away: {PARTS[policy]}: {why}" for policy, why in missing.items()]
    return [policy for policy in PARTS if policy not in missing], said
