"""Which halves devices can run, which of them are built, and which they were asked to build.

Making an engine takes minutes on some devices (TensorRT). These say which they have; what they lack
is built in the background while a plan is in force whose engines are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.tables import CostTables
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.changes import forms_text
from codesign_ros.runtime.stages.engine_keys import half_key
from codesign_ros.types.forms import HalfForm
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class Build:
    """An engine that a device should make.

    Attributes:
        node: the device.
        form: the engine.
        plan: a plan that needs it.
    """

    node: str
    form: HalfForm
    plan: Plan


def builds_text(builds: Iterable[Build]) -> str:
    """Say which engines of which devices, for people."""
    return ", ".join(f"{forms_text([build.form])} of {build.node}" for build in builds)


def form_of(plan: Plan, role: Role, segments: int) -> HalfForm | None:
    """Name the engine that one side of a plan needs; None where that half is empty."""
    key = half_key(plan, role.part, segments)
    return None if key is None else key.form


def built_forms(device: Device, in_force: Plan | None, segments: int) -> set[HalfForm]:
    """List the engines of a device that builds ahead, built or loaded already.

    ``in_force``: the plan that it follows, whatever it says of its engines; None = not known.
    """
    forms = {form for form, is_built in (device.engines or {}).items() if is_built}
    # A head keeps the whole network warm, for when the server is gone.
    warm = [Plan(cut=segments)] if device.role is Role.HEAD else []
    for plan in (*warm, in_force):
        form = form_of(plan, device.role, segments) if plan else None
        forms |= {form} if form else set()
    return forms


def lacking(
    plan: Plan, devices: Iterable[Device], in_force: Plan | None, segments: int
) -> list[Build]:
    """List what has to be built before a plan can be put in force at once."""
    builds = []
    for device in devices:
        form = form_of(plan, device.role, segments)
        if form is None or device.engines is None:
            continue
        if form not in built_forms(device, in_force, segments):
            builds.append(Build(device.node, form, plan))
    return builds


def runnable(
    device: Device, tables: CostTables, *, neck: bool = False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Tell which halves a device can run, built or not.

    Args:
        device: head or tail.
        tables: the problem's; with the memory that halves need, if that is to count.
        neck: halves with a neck, and not those without.

    Returns:
        (N+1, S, M, P) of bool, and what is left out and why, one line each. What the device does
        not say is taken to be no hindrance.
    """
    axes, notes = tables.axes, []
    possible = _all(tables)
    if device.precisions:
        lacks = [precision for precision in axes.precisions if precision not in device.precisions]
        if lacks:
            possible[..., [axes.precisions.index(each) for each in lacks]] = False
            notes.append(f"{device.node} has not {', '.join(lacks)}: not offered")
    refused = {form for form, built in (device.engines or {}).items() if built is False}
    places = dict(_places(refused, tables, neck))
    for place in places.values():
        possible[place] = False
    if places:
        notes.append(f"{device.node} could not build {forms_text(places)}: not offered")
    head = device.role is Role.HEAD
    needs_bytes = tables.head_memory_bytes if head else tables.tail_memory_bytes
    if device.memory_bytes > 0 and needs_bytes is not None:
        too_large = needs_bytes > device.memory_bytes
        possible[np.broadcast_to(too_large[:, :, None, :], possible.shape)] = False
        if too_large.any():
            notes.append(
                f"{device.node} has {device.memory_bytes / 1e6:.0f} MB for engines: "
                f"{too_large.sum()} of {too_large.size} halves need more and are not offered"
            )
    return _with_empty(possible, device.role), tuple(notes)


def built(
    device: Device, tables: CostTables, in_force: Plan | None, *, neck: bool = False
) -> np.ndarray:
    """Tell which halves a device can run at once, (N+1, S, M, P) of bool; see ``built_forms``.

    ``neck``: halves with a neck, and not those without.
    """
    if device.engines is None:
        return _all(tables)
    there = ~_all(tables)
    for _, place in _places(built_forms(device, in_force, tables.segments), tables, neck):
        there[place] = True
    return _with_empty(there, device.role)


class BuildRequests:
    """What devices were asked to build and have not answered yet; each is asked for once."""

    def __init__(self) -> None:
        self._asked_s: dict[tuple[str, HalfForm], float] = {}

    def take(self, builds: Iterable[Build], now_s: float) -> list[Build]:
        """Return those that nobody was asked for, and note that they are now."""
        fresh = [build for build in builds if (build.node, build.form) not in self._asked_s]
        self._asked_s |= {(build.node, build.form): now_s for build in fresh}
        return fresh

    def failed(self, build: Build) -> None:
        """Note that a device could not be asked: it will be with the next solve."""
        self._asked_s.pop((build.node, build.form), None)

    def forget(self, node: str) -> None:
        """Note that a device left or started anew: it does not know what it was asked for."""
        self._asked_s = {key: asked_s for key, asked_s in self._asked_s.items() if key[0] != node}

    def hear(self, device: Device) -> None:
        """Take what a device says of its engines."""
        for form in device.engines or {}:
            self._asked_s.pop((device.node, form), None)

    def overdue(self, now_s: float, timeout_s: float) -> list[tuple[str, HalfForm]]:
        """Take out what devices have not built in so long a time, by node."""
        late = [key for key, asked_s in self._asked_s.items() if now_s - asked_s > timeout_s]
        for key in late:
            del self._asked_s[key]
        return late


class Foresight:
    """What devices were asked to make for plans that may be needed soon, each once a start.

    These are devices that have any engine within a second once its network is on disk, which takes
    many seconds at first: too long where the link has just become thin.
    """

    def __init__(self) -> None:
        self._asked: set[tuple[str, int, HalfForm]] = set()
        self._looked: dict[str, int] = {}

    def is_due(self, in_force: Plan) -> bool:
        """Whether nobody looked ahead since this plan is in force; somebody does now."""
        looked = self._looked.get(in_force.robot)
        self._looked[in_force.robot] = in_force.epoch
        return looked != in_force.epoch

    def take(
        self, plan: Plan, in_force: Plan, devices: Iterable[Device], segments: int
    ) -> list[Build]:
        """Return what has to be made for a plan that is not in force, and note it as asked for.

        Halves of one network in one form need one file, see ``OnnxBackend``.
        """
        builds = []
        for device in devices:
            form = form_of(plan, device.role, segments)
            has = form_of(in_force, device.role, segments)
            if form is None or device.engines is not None:
                continue
            key = device.node, device.session, _network(form)
            if key not in self._asked and (has is None or _network(form) != _network(has)):
                builds.append(Build(device.node, form, plan))
            self._asked.add(key)
        return builds


def _network(form: HalfForm) -> HalfForm:
    """The network that a half is cut out of; with a neck there is one for each cut."""
    return form if form.neck else form._replace(cut=0)


def _all(tables: CostTables) -> np.ndarray:
    axes = tables.axes
    sizes = len(axes.structures), len(axes.merges), len(axes.precisions)
    return np.ones((tables.segments + 1, *sizes), bool)


def _with_empty(halves: np.ndarray, role: Role) -> np.ndarray:
    """A half without segments needs no engine: a head of cut 0, a tail of cut N."""
    halves[0 if role is Role.HEAD else -1] = True
    return halves


def _places(
    forms: Iterable[HalfForm], tables: CostTables, neck: bool
) -> Iterator[tuple[HalfForm, tuple[int, int, int, int]]]:
    """Where engines stand in (N+1, S, M, P), those among what can be chosen."""
    axes = tables.axes
    for form in forms:
        cut, structure, merge, precision, has_neck = form
        if (
            has_neck == neck
            and cut <= tables.segments
            and structure in axes.structures
            and merge in axes.merges
            and precision in axes.precisions
        ):
            yield (
                form,
                (
                    cut,
                    axes.structures.index(structure),
                    axes.merges.index(merge),
                    axes.precisions.index(precision),
                ),
            )
