"""Halves below the roofs of their devices."""

import pytest

from codesign_ros.evaluation.compare.rooflines import ROBOT, SERVER, rooflines
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec
from support.planning import random_tables

DEVICE = DeviceSpec("box", {"fp32": 1e11}, 1e10)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_points_are_operations_over_time_and_over_bytes(precision):
    tables = random_tables(3, structures=(Structure.S3,), precisions=(precision,))
    solution = grid(Problem(tables, (LinkSpec(8e6),)))
    found = rooflines(solution, DEVICE, DEVICE, is_named=True)
    last = tables.segments
    halves = {(each.side, each.cut): each for each in found.halves}
    assert set(halves) == {(ROBOT, cut) for cut in range(1, last + 1)} | {
        (SERVER, cut) for cut in range(last)
    }
    width = {"fp32": 1.0, "fp16": 0.5}[precision]
    flops, traffic = tables.segment_flops[:, 0], tables.segment_bytes[:, 0]
    for (side, cut), half in halves.items():
        mine = slice(0, cut) if side == ROBOT else slice(cut, last)
        took_s = tables.head_s[cut, 0, 0] if side == ROBOT else tables.tail_s[0, cut, 0, 0]
        assert half.flops_per_s == pytest.approx(flops[mine].sum() / took_s)
        assert half.intensity == pytest.approx(flops[mine].sum() / (width * traffic[mine].sum()))


def test_a_device_without_the_peak_has_no_roof():
    solution = grid(Problem(random_tables(1), (LinkSpec(8e6),)))
    found = rooflines(solution, DEVICE, DeviceSpec("npu", {"int8": 1e12}, 1e10), is_named=False)
    assert [(roof.side, roof.device, roof.peak_flops) for roof in found.roofs] == [
        (ROBOT, "box", 1e11)
    ]
