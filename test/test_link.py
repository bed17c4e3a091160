"""The link's time and the estimate of its delay and rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.link import LinkEstimator, transfer_s
from codesign_ros.types import LinkSpec


def test_transfer_time_by_hand():
    # 125 kB are 1 Mbit: 0.1 s at 10 Mbit/s, and 13 ms of delay on top.
    assert transfer_s(125_000, LinkSpec(10e6, 0.013)) == pytest.approx(0.113)


def feed(estimator, transfers, delays_s=(0.005, 0.005, 0.005)):
    for delay_s in delays_s:
        estimator.add(64, delay_s)
    for payload_bytes, duration_s in transfers:
        estimator.add(payload_bytes, duration_s)


def test_nothing_is_known_at_first():
    estimator = LinkEstimator()
    assert (estimator.bandwidth_bps, estimator.delay_s) == (0.0, 0.0)


def test_rate_and_delay_by_hand():
    estimator = LinkEstimator()
    # 10 kB in 25 ms, of which 5 ms are delay: 80 kbit in 20 ms.
    feed(estimator, [(10_000, 0.025)] * 3, delays_s=(0.005, 0.007, 0.009))
    assert estimator.bandwidth_bps == pytest.approx(4e6)
    assert estimator.delay_s == pytest.approx(0.007)


def test_one_sample_of_a_kind_is_not_enough():
    estimator = LinkEstimator()
    feed(estimator, [(10_000, 0.025)] * 2)
    assert estimator.bandwidth_bps == 0.0


@given(
    rate_bps=st.floats(1e5, 1e8),
    delay_s=st.floats(0, 0.1),
    sizes=st.lists(st.integers(2048, 10**6), min_size=6, max_size=6),
    noise_s=st.lists(st.floats(0, 5), min_size=5, max_size=5),
)
def test_disturbances_only_add_and_do_not_move_the_estimate(rate_bps, delay_s, sizes, noise_s):
    estimator = LinkEstimator()
    times = [delay_s + 8 * size / rate_bps for size in sizes]
    disturbed = [times[0], *(t + n for t, n in zip(times[1:], noise_s, strict=True))]
    feed(
        estimator,
        zip(sizes, disturbed, strict=True),
        delays_s=(delay_s, delay_s + 0.3, delay_s + 2),
    )
    assert estimator.bandwidth_bps == pytest.approx(rate_bps, rel=1e-3)


def test_it_follows_a_change_within_the_window():
    estimator = LinkEstimator(window=4)
    feed(estimator, [(10_000, 0.015)] * 4 + [(10_000, 0.045)] * 4)
    assert estimator.bandwidth_bps == pytest.approx(2e6)


def test_a_transfer_as_fast_as_a_tiny_one_is_a_fast_link():
    estimator = LinkEstimator()
    feed(estimator, [(10_000, 0.004)] * 3)
    assert estimator.bandwidth_bps >= 1e9


@pytest.mark.parametrize(("size", "duration"), [(-1, 1.0), (1, -1.0)])
def test_impossible_transfers_are_refused(size, duration):
    with pytest.raises(ValueError, match="no transfer"):
        LinkEstimator().add(size, duration)
