"""The user's limits over all candidates, and what to say when nothing keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.problem import Problem

_ROUNDING = 1e-12

Costs = float | np.ndarray
"""One candidate's, or an array that broadcasts over the axes of ``Candidates``."""


@dataclass(frozen=True, eq=False)
class Bound:
    """One limit.

    Attributes:
        name: what is limited, for people.
        limit: the limit, in ``unit`` after ``scale``.
        excess: by how much each candidate is over it; broadcasts over the axes of ``Candidates``.
        scale: factor from the excess's own unit to ``unit``.
        unit: unit for people.
    """

    name: str
    limit: float
    excess: np.ndarray
    scale: float
    unit: str

    def over(self, excess: float) -> str:
        """Say by how much a candidate is over the limit."""
        return (
            f"{self.name} of {self.limit * self.scale:.4g} {self.unit} is missed by "
            f"{excess * self.scale:.4g} {self.unit}"
        )


def bounds(
    problem: Problem,
    latency_s: Costs,
    pace_s: Costs,
    accuracy_loss: Costs,
    payload_bytes: Costs,
    energy_j: Costs | None,
) -> tuple[Bound, ...]:
    """Work out how much every candidate is over each limit that is set, or one by its costs."""
    limits, tables = problem.limits, problem.tables
    n, s, p = tables.head_s.shape
    found: list[Bound] = []

    def add(name: str, limit: float | None, value: Costs, scale: float, unit: str) -> None:
        if limit is not None:
            # What rounding leaves is not over the limit.
            slack = _ROUNDING * max(1.0, limit)
            found.append(Bound(name, limit, np.asarray(value - limit - slack), scale, unit))

    add("the accuracy loss limit", limits.accuracy_loss, accuracy_loss, 100.0, "points")
    add("the deadline", limits.deadline_s, latency_s, 1e3, "ms")
    own_rate_hz = 1.0 / np.where(np.asarray(pace_s) > 0, pace_s, np.nan)
    if problem.frame_rate_hz is not None:
        short_hz = np.nan_to_num(problem.frame_rate_hz * (1.0 - _ROUNDING) - own_rate_hz)
        found.append(Bound("the frame rate", problem.frame_rate_hz, short_hz, 1.0, "frames/s"))
    if limits.uplink_bytes_per_s is not None:
        rate_hz: Costs = own_rate_hz if problem.frame_rate_hz is None else problem.frame_rate_hz
        uplink = np.nan_to_num(payload_bytes * rate_hz)
        add("the uplink limit", limits.uplink_bytes_per_s, uplink, 1e-3, "kB/s")
    if limits.robot_memory_bytes is not None:
        assert tables.head_memory_bytes is not None  # checked by the problem
        need = tables.head_memory_bytes.reshape(n, s, 1, 1, p, 1, 1)
        add("the robot's memory limit", limits.robot_memory_bytes, need, 1e-6, "MB")
    if limits.server_memory_bytes is not None:
        assert tables.tail_memory_bytes is not None  # checked by the problem
        need = tables.tail_memory_bytes.reshape(n, 1, s, 1, p, 1, 1)
        add("the server's memory limit", limits.server_memory_bytes, need, 1e-6, "MB")
    if limits.robot_energy_j is not None:
        assert energy_j is not None  # checked by the problem
        add("the robot's energy limit", limits.robot_energy_j, energy_j, 1e3, "mJ")
    return tuple(found)


def refusal(offered: np.ndarray, found: Sequence[Bound]) -> str:
    """Say why no candidate keeps all limits: which bind, and by how much at least.

    Args:
        offered: which candidates there are; at least one.
        found: the limits.
    """
    full = [np.broadcast_to(bound.excess, offered.shape)[offered] for bound in found]
    alone = [
        bound.over(float(excess.min()))
        for bound, excess in zip(found, full, strict=True)
        if excess.min() > 0
    ]
    if alone:
        return f"no plan keeps the limits: at best {'; '.join(alone)}; relax it"
    # Each can be kept, but not all at once: the nearest plan by its worst relative excess.
    worst = np.max(
        [excess / (bound.limit or 1.0) for bound, excess in zip(found, full, strict=True)], axis=0
    )
    nearest = int(worst.argmin())
    missed = [
        bound.over(float(excess[nearest]))
        for bound, excess in zip(found, full, strict=True)
        if excess[nearest] > 0
    ]
    return (
        f"no plan keeps all limits at once, though each alone can be kept: in the nearest plan "
        f"{'; '.join(missed)}; relax one of them"
    )
