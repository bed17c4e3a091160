"""What changed between two announcements of one device, and how much of it must be learned anew."""

from __future__ import annotations

import math
from collections.abc import Collection
from statistics import median
from typing import NamedTuple

from codesign_ros.runtime.device import Device
from codesign_ros.types.forms import HalfForm, Merge

# Two profiles that differ by less, in the middle over all halves that both timed, are of the same
# machine in the same condition; a half that differs by more was timed, or estimated, anew.
_SAME = 1.25
# Engines that are named; of more the number is said.
_NAMED = 3


class Change(NamedTuple):
    """News of a device.

    ``anew``: it is not the device that was measured while running, or not in the same condition.
    ``optional``: the plan in force may stay, see ``Due``.
    """

    text: str
    anew: bool = False
    optional: bool = False


def change_between(before: Device, after: Device) -> Change | None:
    """Compare two announcements of a node; None if nothing changed that matters for plans."""
    who = f"{after.role.name.lower()} {after.node}"
    anew = _what_is_new(before, after)
    if anew:
        return Change(f"{who} {anew}", anew=True)
    changes = []
    if after.throttled and not before.throttled:
        changes.append(Change(f"{who} is throttled: {after.throttled}"))
    elif before.throttled and not after.throttled:
        changes.append(Change(f"{who} is not throttled any more", optional=True))
    engines = _engines_change(before, after)
    if engines:
        changes.append(Change(f"{who} {engines}", optional=True))
    elif before.profile != after.profile:
        changes.append(Change(f"{who} timed its engines", optional=True))
    if not changes:
        return None
    return Change("; ".join(c.text for c in changes), optional=all(c.optional for c in changes))


def retimed_cuts(before: Device, after: Device) -> frozenset[int]:
    """Cuts at which a half's time is another one now, e.g. because its engine was built."""
    if before.profile is None or after.profile is None or before.profile is after.profile:
        return frozenset()
    old, new = before.profile.half_s, after.profile.half_s
    return frozenset(
        form.cut
        for form in old.keys() & new.keys()
        if abs(_log_ratio(new[form], old[form])) > math.log(_SAME)
    )


def form_text(form: HalfForm) -> str:
    """Name an engine for people; folding, which is usual, is not said."""
    folded = "" if form.merge is Merge.FOLD else f" {form.merge.value}"
    neck = " neck" if form.neck else ""
    return f"cut {form.cut}{neck} {form.structure.value}{folded} {form.precision}"


def forms_text(forms: Collection[HalfForm]) -> str:
    """Name some engines, and say how many others there are."""
    named = [form_text(form) for form in sorted(forms)[:_NAMED]]
    more = len(forms) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _what_is_new(before: Device, after: Device) -> str:
    """Why nothing that was learned of the device holds any more; empty if it does."""
    if before.state != after.state:
        return f"went from {before.state} to {after.state}"
    if before.model_id != after.model_id:
        return "changed its network"
    if before.power_mode and after.power_mode and before.power_mode != after.power_mode:
        return f"changed its power mode from {before.power_mode} to {after.power_mode}"
    if before.device != after.device or _is_another(before, after):
        return "has a new profile"
    return ""


def _is_another(before: Device, after: Device) -> bool:
    """Whether a device's profile says that it is not as fast as it was.

    Where engines are built ahead, each one that was built is timed and takes the place of an
    estimate; what was timed before is about the same then.
    """
    old, new = before.profile, after.profile
    if old == new:
        return False
    if old is None or new is None or before.engines is None or after.engines is None:
        return True
    old_s, new_s = old.measured_s, new.measured_s
    both = [form for form in old_s.keys() & new_s.keys() if old_s[form] > 0]
    ratios = [abs(_log_ratio(new_s[form], old_s[form])) for form in both]
    return not ratios or median(ratios) > math.log(_SAME)


def _log_ratio(new_s: float, old_s: float) -> float:
    if new_s <= 0 or old_s <= 0:
        return 0.0 if new_s == old_s else math.inf
    return math.log(new_s / old_s)


def _engines_change(before: Device, after: Device) -> str:
    """What a device built, cannot build, or lost; empty if nothing."""
    if after.engines is None:
        return "" if before.engines is None else "builds engines as it needs them now"
    old, new = before.engines or {}, after.engines
    said = (
        ("built", [form for form, built in new.items() if built and not old.get(form)]),
        ("could not build", [f for f, built in new.items() if not built and old.get(f) != built]),
        ("has no more", [form for form, built in old.items() if built and form not in new]),
    )
    return "; ".join(f"{verb} {forms_text(forms)}" for verb, forms in said if forms)
