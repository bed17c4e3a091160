"""Times between measured cuts, against hand-worked cases and numpy's own interpolation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.interpolate import between_cuts, half_roofline_s, interpolate
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import HalfForm, Structure
from codesign_ros.types.tensors import TensorSpec

NAN = np.nan
S3, FULL = Structure.S3, Structure.S3_SS_S1

# Segment by segment 1, 2, 1, 4 s of 100 FLOP/s, or of 10 bytes/s where that takes longer.
NETWORK = NetworkProfile(
    segment_names=("a", "b", "c", "d"),
    crossings=((TensorSpec("image", (2, 2, 3), "uint8"),),) * 5,
    segment_flops={S3: (100, 10, 100, 400), FULL: (200, 20, 200, 800)},
    segment_bytes={S3: (10, 20, 1, 1), FULL: (20, 40, 2, 2)},
    segment_weights={S3: (1, 1, 1, 1), FULL: (1, 1, 1, 1)},
    segment_activations={S3: (1, 1, 1, 1), FULL: (1, 1, 1, 1)},
)
DEVICE = DeviceSpec("device", {"fp32": 100.0}, 10.0)


def test_the_roofline_time_of_halves_by_hand():
    np.testing.assert_allclose(half_roofline_s(NETWORK, DEVICE, S3, "fp32"), [0, 1, 3, 4, 8])
    tail_s = half_roofline_s(NETWORK, DEVICE, S3, "fp32", tail=True)
    np.testing.assert_allclose(tail_s, [8, 7, 5, 4, 0])


def test_a_head_by_hand():
    # Between cuts 1 and 4 the roofline has 2 + 1 + 4 s, of which 14 s more were measured.
    times_s, filled = interpolate(
        np.array([0.0, 5.0, NAN, NAN, 19.0]), np.array([0.0, 1.0, 3.0, 4.0, 8.0])
    )
    np.testing.assert_allclose(times_s, [0, 5, 9, 11, 19])
    assert filled.tolist() == [False, False, True, True, False]


def test_a_tail_by_hand():
    # Beyond the measured cuts the nearest ratio holds: 14 / 7 at cut 1, 12 / 4 at cut 3.
    times_s, filled = interpolate(
        np.array([NAN, 14.0, NAN, 12.0, NAN]), np.array([8.0, 7.0, 5.0, 4.0, 0.0])
    )
    np.testing.assert_allclose(times_s, [16, 14, 14 - 2 * 2 / 3, 12, 0])
    assert filled.tolist() == [True, False, True, False, True]


def test_segments_without_work_take_no_time():
    times_s, _ = interpolate(np.array([1.0, NAN, 3.0]), np.array([2.0, 2.0, 2.0]))
    np.testing.assert_allclose(times_s, [1, 1, 3])


def test_without_anything_to_scale_by_times_stay_unknown():
    for measured_s in ([NAN, NAN, NAN], [0.0, NAN, NAN]):
        times_s, filled = interpolate(np.array(measured_s), np.array([0.0, 1.0, 2.0]))
        np.testing.assert_array_equal(times_s, measured_s)
        assert not filled.any()


@pytest.mark.parametrize(
    ("measured_s", "roofline_s", "text"),
    [
        (np.zeros(3), np.zeros(4), "shape"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "shape"),
        (np.zeros(3), np.array([0.0, 2.0, 1.0]), "rise or fall"),
    ],
)
def test_what_cannot_be_interpolated(measured_s, roofline_s, text):
    with pytest.raises(ValueError, match=text):
        interpolate(measured_s, roofline_s)


@st.composite
def halves(draw):
    """Roofline and true times of a head that rise with the cut, and which cuts were measured."""
    n = draw(st.integers(1, 12))
    step = st.lists(st.floats(1e-3, 1e3), min_size=n, max_size=n)
    roofline_s, true_s = (np.append(0.0, np.cumsum(draw(step))) for _ in range(2))
    measured = draw(st.lists(st.booleans(), min_size=n + 1, max_size=n + 1))
    measured[draw(st.integers(1, n))] = True
    tail = draw(st.booleans())
    order = slice(None, None, -1 if tail else 1)
    return roofline_s[order], true_s[order], np.array(measured)[order]


@given(halves())
def test_measured_times_stay_and_all_others_are_in_order(half):
    roofline_s, true_s, measured = half
    times_s, filled = interpolate(np.where(measured, true_s, NAN), roofline_s)
    np.testing.assert_array_equal(times_s[measured], true_s[measured])
    # The empty half alone gives nothing to scale by: what is beyond it may stay unknown.
    assert filled.tolist() == (~measured).tolist() or not np.isfinite(times_s).all()
    known_s = times_s[~np.isnan(times_s)]
    steps = np.diff(known_s if roofline_s[-1] > 0 else known_s[::-1])
    assert np.all(steps >= -1e-9 * known_s.max())


@given(halves())
def test_it_is_linear_in_the_roofline_time(half):
    roofline_s, true_s, measured = half
    times_s, _ = interpolate(np.where(measured, true_s, NAN), roofline_s)
    cuts = np.flatnonzero(measured)
    inside = slice(cuts[0], cuts[-1] + 1)
    order = slice(None, None, 1 if roofline_s[-1] > 0 else -1)
    expected_s = np.interp(roofline_s[inside], roofline_s[cuts][order], true_s[cuts][order])
    np.testing.assert_allclose(times_s[inside], expected_s, rtol=1e-9)


@given(halves(), st.floats(1e-3, 1e3))
def test_a_device_that_is_the_roofline_by_a_factor_is_found_exactly(half, factor):
    roofline_s, _, measured = half
    measured[0 if roofline_s[0] > 0 else -1] = True
    times_s, _ = interpolate(np.where(measured, factor * roofline_s, NAN), roofline_s)
    np.testing.assert_allclose(times_s, factor * roofline_s, rtol=1e-9, atol=1e-12)


def of(times, structure=S3, precision="fp32"):
    """Times by cut, of the cuts that are known."""
    return {
        half.cut: time_s
        for half, time_s in sorted(times.items())
        if (half.structure, half.precision) == (structure, precision)
    }


def test_heads_between_cuts_with_preparing_the_frame():
    # Preparing takes 0.5 s; the device takes twice the roofline time.
    int8 = HalfForm(2, precision="int8-channel")
    fp32_s = {HalfForm(0): 0.5, HalfForm(1): 2.5, HalfForm(4): 16.5, HalfForm(4, FULL): 32.5}
    full = between_cuts(NETWORK, HalfTimes({**fp32_s, int8: 3.0}), DEVICE)
    assert of(full.half_s) == pytest.approx({0: 0.5, 1: 2.5, 2: 6.5, 3: 8.5, 4: 16.5})
    assert of(full.half_s, FULL) == pytest.approx({1: 4.5, 2: 12.5, 3: 16.5, 4: 32.5})
    assert [*of(full.measured_s)] == [0, 1, 4]
    # The device has no int8 peak, so nothing is made up for it.
    assert of(full.half_s, precision="int8-channel") == {2: 3.0}


def test_tails_between_cuts():
    device = DeviceSpec("device", {"fp32": 100.0, "int8": 100.0}, 10.0)
    measured_s = {HalfForm(0): 4.0, HalfForm(3, precision="int8-channel"): 1.0}
    full = between_cuts(NETWORK, HalfTimes(measured_s), device, tail=True)
    assert of(full.half_s) == pytest.approx({0: 4.0, 1: 3.5, 2: 2.5, 3: 2.0})
    # In int8 a byte a number: only compute counts, 1 + 0.5 (memory still) + 1 + 4 s.
    assert of(full.half_s, precision="int8-channel") == pytest.approx(
        {0: 6.5 / 4, 1: 5.5 / 4, 2: 5.0 / 4, 3: 1.0}
    )
    assert full.measured_s == measured_s


def test_codecs_between_cuts():
    # 10, 20, 40 and 4 elements cross at the cuts 1 to 4.
    frame = TensorSpec("image", (2, 2, 3), "uint8")
    crossings = ((frame,), *((TensorSpec("x", (1, n)),) for n in (10, 20, 40, 4)))
    network = replace(NETWORK, crossings=crossings)
    times = HalfTimes(
        {HalfForm(0): 0.5, HalfForm(4): 8.5},
        codec_s={(0, "jpeg"): 9.0, (2, "fp16"): 3.0, (2, "uint8+zstd"): 5.0},
        codec_bytes={(0, "jpeg"): 7.0, (2, "fp16"): 40.0, (2, "uint8+zstd"): 11.0},
    )
    full = between_cuts(network, times, DEVICE)
    # Half as many elements as were timed, and twice as many; nothing crosses at cut 4.
    assert full.codec_s == {**times.codec_s, (1, "fp16"): 1.5, (3, "fp16"): 6.0}
    assert full.codec_bytes == {**times.codec_bytes, (1, "fp16"): 20.0, (3, "fp16"): 80.0}
    # Between two that were timed: 20 of 10 to 40 elements.
    times = replace(times, codec_s={(1, "raw"): 1.0, (3, "raw"): 4.0}, codec_bytes={})
    full = between_cuts(network, times, DEVICE)
    assert full.codec_s == {**times.codec_s, (2, "raw"): pytest.approx(2.0)}
