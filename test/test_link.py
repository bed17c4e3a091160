"""The link's time and the estimate of its rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.link import LinkEstimator, transfer_s
from codesign_ros.types import LinkSpec


def test_transfer_time_by_hand():
    # 125 kB are 1 Mbit: 0.1 s at 10 Mbit/s, and 13 ms of delay on top.
    assert transfer_s(125_000, LinkSpec(10e6, 0.013)) == pytest.approx(0.113)


def test_nothing_is_known_at_first():
    assert LinkEstimator().bandwidth_bps is None


def test_a_stall_does_not_move_the_estimate():
    estimator = LinkEstimator()
    for _ in range(6):
        estimator.add(10_000, 0.008)
    estimator.add(10_000, 3.0)
    estimator.add(10_000, 1e-6)
    assert estimator.bandwidth_bps == pytest.approx(10e6)


def test_small_payloads_hardly_count():
    estimator = LinkEstimator()
    for _ in range(5):
        estimator.add(100, 0.013)
    estimator.add(100_000, 0.1)
    assert estimator.bandwidth_bps == pytest.approx(8e6)


def test_it_follows_a_change_within_the_window():
    estimator = LinkEstimator(window=4)
    for duration in (0.01,) * 4 + (0.04,) * 3:
        estimator.add(10_000, duration)
    assert estimator.bandwidth_bps == pytest.approx(2e6)


@pytest.mark.parametrize(("size", "duration"), [(0, 1.0), (1, 0.0), (1, -1.0), (1, float("nan"))])
def test_impossible_transfers_are_refused(size, duration):
    with pytest.raises(ValueError, match="no transfer"):
        LinkEstimator().add(size, duration)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(1e-6, 10)), min_size=1, max_size=16))
def test_half_of_the_bytes_are_on_either_side(samples):
    estimator = LinkEstimator()
    for size, duration in samples:
        estimator.add(size, duration)
    sizes, durations = np.array(samples).T
    rates = 8 * sizes / durations
    estimate = estimator.bandwidth_bps
    assert sizes[rates <= estimate].sum() >= sizes.sum() / 2
    assert sizes[rates >= estimate].sum() >= sizes.sum() / 2
