"""Eq. 1-6 with numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.roofline import (
    RooflineMode,
    attainable_flops,
    compute_s,
    intensity,
    is_compute_bound,
)
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError

PAPER, ROOFLINE = RooflineMode.PAPER, RooflineMode.ROOFLINE

# The paper's Jetson Nano: 472 GFLOP/s, 25.6 GB/s; its ridge is at 18.4375 FLOP/byte.
NANO = DeviceSpec("nano", {"fp32": 472e9}, 25.6e9)


def test_ridge_and_table_iii():
    assert NANO.ridge_intensity == pytest.approx(18.4375)
    # Table III: RepVGG at 19.81 FLOP/byte is compute constrained on the Nano, and on a TX2
    # (1.33 TFLOP/s, 59.7 GB/s: 22.28) memory constrained.
    tx2 = DeviceSpec("tx2", {"fp32": 1.33e12}, 59.7e9)
    assert is_compute_bound(19.81, 1.0, NANO)
    assert not is_compute_bound(19.81, 1.0, tx2)


def test_eq_1_both_ways():
    # C_0 = 1000, M_0 = 50, the head has 600 FLOP and 20 bytes.
    assert intensity(600, 20) == pytest.approx((600 / 1000) / (20 / 50) * intensity(1000, 50))


def test_below_the_ridge_both_modes_are_memory_bound():
    # 1 GFLOP over 0.1 GB: I = 10; I * beta = 256 GFLOP/s; 1e9 / 256e9 = 3.90625 ms.
    for mode in RooflineMode:
        assert attainable_flops(10.0, NANO, mode) == pytest.approx(256e9)
        assert compute_s(1e9, 1e8, NANO, mode) == pytest.approx(3.90625e-3)


def test_above_the_ridge_only_the_roofline_is_capped():
    # 4.72 GFLOP over 0.1 GB: I = 47.2. Capped: 4.72e9 / 472e9 = 10 ms. To the letter: I * beta =
    # 1208.32 GFLOP/s, hence 3.90625 ms, which is 0.1 GB at 25.6 GB/s.
    assert compute_s(4.72e9, 1e8, NANO, ROOFLINE) == pytest.approx(10e-3)
    assert compute_s(4.72e9, 1e8, NANO, PAPER) == pytest.approx(3.90625e-3)


def test_utilisation_divides():
    half = DeviceSpec("half", {"fp32": 472e9}, 25.6e9, utilisation=0.5)
    assert compute_s(1e9, 1e8, half, PAPER) == pytest.approx(2 * 3.90625e-3)


def test_empty_half_takes_no_time():
    assert compute_s(0, 0, NANO, PAPER) == 0.0


# 100 GFLOP/s in fp32, 200 in fp16, 400 in int8; 10 GB/s.
NARROW = DeviceSpec("narrow", {"fp32": 1e11, "fp16": 2e11, "int8": 4e11}, 1e10)


@pytest.mark.parametrize(
    ("precision", "bound_by_compute_s", "bound_by_memory_s"),
    [
        # 10 GFLOP over 0.1 GB (I = 100): 10 GFLOP / pi; 1 GFLOP over 1 GB of fp32: 1 GB / beta,
        # and half and a quarter of it in 2 and 1 bytes.
        ("fp32", 0.1, 0.1),
        ("fp16", 0.05, 0.05),
        ("int8-tensor", 0.025, 0.025),
        ("int8-channel", 0.025, 0.025),
    ],
)
def test_narrow_numbers_have_their_peak_and_move_fewer_bytes(
    precision, bound_by_compute_s, bound_by_memory_s
):
    by_compute = compute_s(1e10, 1e8, NARROW, ROOFLINE, precision)
    by_memory = compute_s(1e9, 1e9, NARROW, ROOFLINE, precision)
    assert (by_compute, by_memory) == pytest.approx((bound_by_compute_s, bound_by_memory_s))
    # Eq. 5 and 6 know only beta.
    assert compute_s(1e9, 1e9, NARROW, PAPER, precision) == pytest.approx(0.1)


def test_a_precision_without_a_peak_is_refused():
    with pytest.raises(CodesignError, match=r"^device nano has no int8 peak; it has fp32$"):
        compute_s(1e9, 1e8, NANO, ROOFLINE, "int8-channel")


def test_the_ridge_goes_by_the_papers_peak_where_there_is_one():
    nano = DeviceSpec("nano", {"fp32": 236e9}, 25.6e9, paper_peak_flops=472e9)
    assert nano.ridge_intensity == pytest.approx(18.4375)


positive = st.floats(1.0, 1e15)


@given(flops=positive, traffic=positive, peak=positive, bandwidth=positive)
def test_paper_mode_is_never_slower(flops, traffic, peak, bandwidth):
    device = DeviceSpec("d", {"fp32": peak}, bandwidth, 0.7)
    paper = compute_s(flops, traffic, device, PAPER)
    roofline = compute_s(flops, traffic, device, ROOFLINE)
    assert paper <= roofline * (1 + 1e-12)
    assert roofline == pytest.approx(max(flops / peak, traffic / bandwidth) / 0.7, rel=1e-9)
