"""What bounds each half of a plan on its device: arithmetic or memory (the paper's Eq. 2 and 4)."""

from __future__ import annotations

from collections.abc import Mapping

from codesign_ros.console import data_size
from codesign_ros.cost.roofline import intensity, is_compute_bound
from codesign_ros.cost.tables import CostTables
from codesign_ros.planning.grid import Solution
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Structure


def work(tables: CostTables, structure: Structure, first: int, end: int) -> tuple[float, float]:
    """Operations [FLOP] and fp32 memory traffic [bytes] of the segments between two cuts.

    Raises:
        ValueError: they were not counted.
    """
    if tables.segment_flops is None or tables.segment_bytes is None:
        raise ValueError("these tables hold no operations and no memory traffic")
    s = tables.axes.structures.index(structure)
    flops, traffic = (a[first:end, s].sum() for a in (tables.segment_flops, tables.segment_bytes))
    return float(flops), float(traffic)


def bound_lines(
    solution: Solution, robot: DeviceSpec | None, servers: Mapping[str, DeviceSpec]
) -> list[str]:
    """Say of each half whose device is known what bounds it there (Eq. 2 and 4).

    Nothing where operations were not counted, or where a half is empty.
    """
    tables, c = solution.problem.tables, solution.best.candidate
    if tables.segment_flops is None:
        return []
    halves = (
        ("The robot's part", robot, c.head_structure, 0, c.cut, "Eq. 2"),
        ("The server's part", servers.get(c.server), c.tail_structure, c.cut, tables.segments,
         "Eq. 4"),
    )  # fmt: skip
    return [
        _bound_line(name, device, *work(tables, structure, first, end), equation)
        for name, device, structure, first, end, equation in halves
        if device is not None and work(tables, structure, first, end)[0] > 0
    ]


def _bound_line(
    name: str, device: DeviceSpec, flops: float, traffic_bytes: float, equation: str
) -> str:
    computes = is_compute_bound(flops, traffic_bytes, device)
    waits = {True: "its arithmetic is the limit", False: "its memory bandwidth is the limit"}
    side = {True: "at or above", False: "below"}
    here = intensity(flops, traffic_bytes)
    line = (
        f"{name} does {flops / 1e9:.3g} GFLOP and moves {data_size(traffic_bytes)} of memory, "
        f"{here:.3g} FLOP/byte: {side[computes]} the {device.ridge_intensity:.3g} of "
        f"{device.name}, so {waits[computes]} ({equation})"
    )
    # The paper's peak may count another number format than the one that runs.
    fp32_ridge = device.peak("fp32") / device.memory_bandwidth if device.has("fp32") else None
    if fp32_ridge is not None and (here >= fp32_ridge) != computes:
        line += (
            f"; that is with the paper's peak, with its fp32 peak (ridge {fp32_ridge:.3g}) "
            f"{waits[not computes]}"
        )
    return line + "."
