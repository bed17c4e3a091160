"""Heads and tails against the roofs of their devices (the paper's Fig. 4), at every cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from codesign_ros.cost.roofline import intensity
from codesign_ros.planning.grid import Solution
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import NUMBER_BYTES, number_format

ROBOT, SERVER = "robot", "server"


@dataclass(frozen=True)
class Roof:
    """What a device allows.

    Attributes:
        side: ``ROBOT`` or ``SERVER``.
        device: its name in config/devices.yaml.
        peak_flops: pi, in fp32 [FLOP/s].
        memory_bandwidth: beta [bytes/s].
    """

    side: str
    device: str
    peak_flops: float
    memory_bandwidth: float


@dataclass(frozen=True)
class HalfWork:
    """What a half does.

    Attributes:
        side: where it runs.
        cut: where the network is cut.
        intensity: operations for a byte of memory traffic [FLOP/byte].
        flops_per_s: operations in the time that it takes, as the comparison has it [FLOP/s].
    """

    side: str
    cut: int
    intensity: float
    flops_per_s: float


@dataclass(frozen=True)
class Rooflines:
    """Roofs, and what stands under them.

    Attributes:
        roofs: of the devices.
        halves: heads and tails of the best plan of each cut.
        is_named: whether the user named the devices; else they are an example, whose peaks this
            machine need not have.
    """

    roofs: tuple[Roof, ...]
    halves: tuple[HalfWork, ...]
    is_named: bool

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self)


def rooflines(
    solution: Solution, robot: DeviceSpec, server: DeviceSpec, *, is_named: bool
) -> Rooflines:
    """Place the halves of the best plan of each cut.

    Args:
        solution: of a problem whose operations were counted.
        robot: the device of heads.
        server: that of tails.
        is_named: see ``Rooflines``.
    """
    roofs = tuple(
        Roof(side, device.name, device.peak("fp32"), device.memory_bandwidth)
        for side, device in ((ROBOT, robot), (SERVER, server))
        if device.has("fp32")
    )
    return Rooflines(roofs, tuple(_halves(solution)), is_named)


def _halves(solution: Solution) -> Iterator[HalfWork]:
    tables = solution.problem.tables
    axes, flops, traffic = tables.axes, tables.segment_flops, tables.segment_bytes
    if flops is None or traffic is None:
        return
    rows = sorted(solution.best_of_each_cut(), key=lambda row: row.candidate.cut)
    for row in rows:
        chosen = row.candidate
        precision = axes.precisions.index(chosen.precision)
        narrow = NUMBER_BYTES[number_format(chosen.precision)] / NUMBER_BYTES["fp32"]
        for side, structure, first, end, times_s in (
            (ROBOT, chosen.head_structure, 0, chosen.cut, tables.head_s),
            (SERVER, chosen.tail_structure, chosen.cut, tables.segments, tables.tail_s[0]),
        ):
            shape = axes.structures.index(structure)
            done = float(flops[first:end, shape].sum())
            moved = narrow * float(traffic[first:end, shape].sum())
            took_s = float(times_s[chosen.cut, shape, precision])
            if done > 0 and took_s > 0:
                yield HalfWork(side, chosen.cut, intensity(done, moved), done / took_s)
