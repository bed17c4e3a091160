"""Utilisation fitted to timings, with numbers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.cost.utilisation import Timing, fit_utilisation, timings_of
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Structure
from codesign_ros.types.tensors import TensorSpec

S3 = Structure.S3
ONE = DeviceSpec("one", {"fp32": 100.0, "int8": 400.0}, 1e9, utilisation=0.1)
TWO = DeviceSpec("two", {"fp32": 50.0}, 1e9)


def timing(measured_s, device=ONE, precision="fp32", half="head 1", flops=100.0):
    return Timing(device, precision, half, flops, 1.0, measured_s)


def test_median_ratio_by_hand():
    # At full utilisation 1 s, whatever the file says of the device; measured 2, 4 and 5 s.
    fit = fit_utilisation([timing(s, half=h) for s, h in ((2.0, "a"), (4.0, "b"), (5.0, "c"))])
    assert fit.utilisation == pytest.approx(1 / 4)
    # Each half from the other two: 0.5 by 0.225, 0.25 by 0.35, 0.2 by 0.375.
    assert fit.left_out == "half"
    errors = sorted([0.5 / 0.225 - 1, 1 - 0.25 / 0.35, 1 - 0.2 / 0.375])
    assert fit.median_error == pytest.approx(errors[1])
    assert fit.worst_error == pytest.approx(errors[2])


def test_devices_are_left_out_where_there_are_two():
    # One reaches a half, two a quarter (2 s at its peak): each is off by a factor of two.
    fit = fit_utilisation([timing(2.0), timing(2.0, half="head 2"), timing(8.0, TWO)])
    assert (fit.left_out, fit.timings) == ("device", 3)
    assert fit.utilisation == pytest.approx(0.5)
    # One predicted by two: half of it reached twice as much; two by one the other way round.
    assert fit.worst_error == pytest.approx(1.0)
    assert fit.median_error == pytest.approx(1.0)


def test_precisions_are_left_out_on_one_device():
    fit = fit_utilisation([timing(2.0), timing(0.5, precision="int8-channel")])
    assert (fit.left_out, fit.worst_error) == ("precision", pytest.approx(0.0))


def test_one_timing_has_no_error_of_its_own():
    fit = fit_utilisation([timing(2.0)])
    assert (fit.left_out, fit.utilisation, fit.worst_error) == ("", 0.5, 0.0)


def test_a_device_that_was_never_profiled():
    fit = fit_utilisation([timing(4.0)])
    unseen = fit.applied(TWO)
    assert (unseen.name, unseen.utilisation) == ("two", 0.25)
    assert compute_s(100.0, 1.0, unseen, RooflineMode.ROOFLINE) == pytest.approx(8.0)


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=9), st.floats(0.01, 100.0))
def test_it_scales_with_the_machine_and_the_error_does_not(times_s, factor):
    def fit(scale):
        return fit_utilisation([timing(s * scale, half=str(i)) for i, s in enumerate(times_s)])

    slow, fast = fit(1.0), fit(1 / factor)
    assert fast.utilisation == pytest.approx(factor * slow.utilisation)
    assert fast.worst_error == pytest.approx(slow.worst_error, abs=1e-9)
    assert 0 <= fast.median_error <= fast.worst_error


def test_nothing_to_fit_to():
    with pytest.raises(CodesignError, match="profile a device of this class first"):
        fit_utilisation([])
    with pytest.raises(CodesignError, match="device two has no int8 peak; it has fp32"):
        fit_utilisation([timing(1.0, TWO, "int8-tensor")])
    with pytest.raises(ValueError, match="above 0"):
        fit_utilisation([timing(0.0)])


NETWORK = NetworkProfile(
    segment_names=("a", "b"),
    crossings=((TensorSpec("image", (2, 2, 3), "uint8"),),) * 3,
    segment_flops={S3: (100, 300)},
    segment_bytes={S3: (10, 30)},
    segment_weights={S3: (1, 1)},
    segment_activations={S3: (1, 1)},
)


def test_timings_of_a_profile():
    int8 = [HalfForm(cut, precision="int8-channel") for cut in (1, 2)]
    times = HalfTimes(
        {
            HalfForm(0): 0.5,
            HalfForm(1): 2.5,
            HalfForm(2): 8.5,
            HalfForm(2, Structure.S3_S1): 9.0,
            int8[0]: 1.0,
            int8[1]: 3.0,
        },
        estimated=frozenset(int8[1:]),
    )
    heads = timings_of(NETWORK, times, ONE)
    assert [(t.half, t.precision, t.flops, t.traffic_bytes, t.measured_s) for t in heads] == [
        ("head 1", "fp32", 100, 10, 2.0),
        ("head 2", "fp32", 400, 40, 8.0),
        ("head 1", "int8-channel", 100, 10, 0.5),
    ]
    assert fit_utilisation(heads).utilisation == pytest.approx(0.5)
    # A device without an int8 peak says nothing of int8.
    assert {t.precision for t in timings_of(NETWORK, times, TWO)} == {"fp32"}
    tails = timings_of(NETWORK, HalfTimes({HalfForm(0): 4.0, HalfForm(2): 0.0}), ONE, tail=True)
    assert [(t.half, t.flops, t.measured_s) for t in tails] == [("tail 0", 400, 4.0)]
