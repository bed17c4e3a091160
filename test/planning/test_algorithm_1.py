"""Algorithm 1 against numbers worked out by hand and against all cuts."""

import dataclasses
import itertools

import numpy as np
import pytest

from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.planning.algorithm_1 import algorithm_1
from codesign_ros.planning.total_time import SplitCurves, split_curves
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec
from support.planning import random_tables

# beta 1 and 10 GB/s; I_m1 = 1 and I_m2 = 1 FLOP/byte.
ROBOT = DeviceSpec("robot", {"fp32": 1e9}, 1e9, 0.5)
SERVER = DeviceSpec("server", {"fp32": 1e10}, 1e10)
LINK = LinkSpec(8e6)

# Four segments; the traffic is what counts in Eq. 5-6: 10, 30, 20 and 40 MB.
HAND = SplitCurves(
    cuts=np.arange(5),
    depth=np.arange(5) / 4,
    flops=np.array([0.0, 1e8, 2e8, 3e8, 4e8]),
    traffic_bytes=np.array([0.0, 10e6, 40e6, 60e6, 100e6]),
    payload_bytes=np.array([100e3, 40e3, 60e3, 10e3, 0.0]),
)
# By hand. T1 = M1 / (0.5 * 1e9), T2 = (M - M1) / 1e10, T3 = N_e / 1e6 B/s [ms]:
# cut 0: 0 + 10 + 100 = 110; 1: 20 + 9 + 40 = 69; 2: 80 + 6 + 60 = 146; 3: 120 + 4 + 10 = 134;
# 4: 200 + 0 + 0 = 200.
TOTALS_S = [0.110, 0.069, 0.146, 0.134, 0.200]


def run(curves=HAND, **options):
    return algorithm_1(curves, ROBOT, SERVER, LINK, **options)


def test_times_at_the_cuts_by_hand():
    for cut, total_s in enumerate(TOTALS_S):
        first = run(starts=[cut / 4], max_iterations=1).trajectory[0]
        assert first.total_s == pytest.approx(total_s)


def test_one_step_by_hand():
    # At lambda = 0.375, in the middle of cuts 1 and 2, T = (69 + 146) / 2 = 107.5 ms and its slope
    # is (146 - 69) / 0.25 = 308 ms; alpha = 0.5 / s makes a step of 0.154.
    first, second = run(starts=[0.375], alpha=0.5, max_iterations=1).trajectory
    assert first.depth == 0.375
    assert first.total_s == pytest.approx(0.1075)
    assert first.slope_s == pytest.approx(0.308)
    # I1 = 1.5e8 FLOP / 25 MB, by Eq. 1 (0.375 / 0.25) * 4.
    assert first.intensity == pytest.approx(6.0)
    assert second.depth == pytest.approx(0.375 - 0.154)
    # Between cuts 0 and 1 at lambda = 0.221: 110 - 41 * 0.221 / 0.25.
    assert second.total_s == pytest.approx(0.110 - 0.041 * 0.221 / 0.25)


def test_a_step_that_would_go_up_is_halved():
    # alpha = 0.8 / s: 0.2464 leads to 0.1286 (88.9 ms, lower than 107.5), so it is taken whole;
    # alpha = 1.2 / s: 0.3696 leads to 0.0054, 109.1 ms: halved, to 0.1902.
    assert run(starts=[0.375], alpha=0.8, max_iterations=1).trajectory[1].depth == pytest.approx(
        0.1286
    )
    assert run(starts=[0.375], alpha=1.2, max_iterations=1).trajectory[1].depth == pytest.approx(
        0.1902
    )


def test_the_step_stays_between_0_and_1():
    falling = dataclasses.replace(HAND, payload_bytes=np.array([9e6, 6e6, 4e6, 2e6, 0.0]))
    descent = run(falling, starts=[0.9], alpha=1e9)
    assert descent.depth == 1.0
    assert descent.plan.cut == 4
    assert descent.plan.codec == "raw"
    assert not descent.is_stuck


def test_finds_the_best_cut_or_says_where_it_is_stuck():
    good = run(starts=[0.4])
    assert good.plan.cut == 1
    assert good.depth == pytest.approx(0.25, abs=1e-6)
    assert good.report == "gradient found the best cut, 1 (69 ms)"
    assert (good.plan.head_s, good.plan.link_s, good.plan.tail_s) == pytest.approx(
        (0.020, 0.040, 0.009)
    )
    # From the middle of cuts 3 and 4 it goes down to cut 3, from which both sides rise.
    stuck = run(starts=[0.875])
    assert stuck.plan.cut == 3
    assert stuck.is_stuck
    assert stuck.gap_s == pytest.approx(0.065)
    assert stuck.report == ("gradient stuck at cut 3 (a local minimum), 65 ms above the best cut 1")
    assert "out of steps" in run(starts=[0.99], alpha=1e-3, max_iterations=2).report
    # Several starts: the best of them.
    assert run(starts=[0.875, 0.4]).plan.cut == 1


def test_step_6_leaves_a_memory_bound_head_where_that_is_faster():
    # Operations only in segment 2: I1 is 0 at cut 1 and greatest, 0.5, at cut 2, below I_m1 = 1.
    # Cut 2 is 20 ms better than the local minimum at cut 0, behind the hill at cut 1.
    curves = dataclasses.replace(
        HAND,
        flops=np.array([0.0, 0.0, 2e7, 2e7, 2e7]),
        payload_bytes=np.array([100e3, 120e3, 4e3, 10e3, 0.0]),
    )
    descent = run(curves, starts=[0.0])
    assert descent.trajectory[1].depth == 0.5
    assert descent.plan.cut == 2
    # A head that is compute bound is left alone.
    busy = dataclasses.replace(curves, flops=100 * HAND.flops)
    assert run(busy, starts=[0.0]).plan.cut == 0


def slope_by_difference(total, depth, width):
    return (total(depth + width) - total(depth - width)) / (2 * width)


@pytest.mark.parametrize("mode", RooflineMode)
@pytest.mark.parametrize("seed", range(5))
def test_slopes_are_the_derivative(seed, mode):
    curves = split_curves(random_tables(seed, segments=8))

    def total(depth):
        start = algorithm_1(
            curves, ROBOT, SERVER, LINK, mode, starts=[depth], max_iterations=1
        ).trajectory[0]
        assert start.total_s > 0
        return start

    for depth in np.random.default_rng(seed).uniform(0.01, 0.99, 20):
        if np.abs(depth * 8 - round(depth * 8)) > 0.01:
            slope = slope_by_difference(lambda at: total(at).total_s, depth, 1e-6)
            assert total(depth).slope_s == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("mode", RooflineMode)
@pytest.mark.parametrize("seed", range(10))
def test_descent_goes_down_and_ends_at_a_local_minimum_never_below_the_best_cut(seed, mode):
    curves = split_curves(random_tables(seed, segments=12))
    descent = algorithm_1(curves, ROBOT, SERVER, LINK, mode)
    totals = [step.total_s for step in descent.trajectory]
    assert all(later < earlier for earlier, later in itertools.pairwise(totals))
    assert descent.converged
    assert descent.gap_s >= -1e-12
    # Started at every cut, it finds the best one.
    everywhere = algorithm_1(curves, ROBOT, SERVER, LINK, mode, starts=curves.depth.tolist())
    assert everywhere.plan.cut == everywhere.best_cut
    assert not everywhere.is_stuck


def test_curves_of_tables():
    tables = random_tables(0, segments=4)
    curves = split_curves(tables, Structure.S3_SS, "uint8")
    codecs = tables.axes.codecs
    # At cut 0 the raw frame, since uint8 sends tensors only; nothing at cut N.
    assert curves.payload_bytes[0] == tables.payload_bytes[0, codecs.index("raw")]
    assert curves.payload_bytes[1] == tables.payload_bytes[1, codecs.index("uint8")]
    assert curves.payload_bytes[-1] == 0
    assert curves.flops[-1] == pytest.approx(tables.segment_flops[:, 1].sum())
    assert curves.frame_codec == "raw"
    # JPEG fits the frame alone: the cuts are 0 and N.
    jpeg = split_curves(tables, codec="jpeg")
    assert jpeg.cuts.tolist() == [0, 4]
    small = dataclasses.replace(jpeg, payload_bytes=np.array([1.0, 0.0]))
    assert run(small, starts=[0.0]).plan.codec == "jpeg"
    plan = run(curves, starts=[0.5]).plan
    assert plan.head_structure is Structure.S3_SS
    # A cut whose size is not known is passed over.
    payload = tables.payload_bytes.copy()
    payload[2] = np.nan
    holed = split_curves(dataclasses.replace(tables, payload_bytes=payload))
    assert holed.cuts.tolist() == [0, 1, 3, 4]
    assert run(holed, starts=[0.5]).plan.cut != 2


def test_mistakes():
    tables = random_tables(0)
    with pytest.raises(CodesignError, match="starts from 0 to 1"):
        run(starts=[1.5])
    with pytest.raises(CodesignError, match="starts from 0 to 1"):
        run(starts=[])
    with pytest.raises(CodesignError, match="needs operations"):
        split_curves(dataclasses.replace(tables, segment_flops=None))
    with pytest.raises(CodesignError, match="cannot plan S3 with zip"):
        split_curves(tables, codec="zip")
    payload = tables.payload_bytes.copy()
    payload[0] = np.nan
    with pytest.raises(CodesignError, match="the frame's size"):
        split_curves(dataclasses.replace(tables, payload_bytes=payload))
