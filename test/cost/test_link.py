"""The link's time and the estimate of its delay and rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.link import transfer_s
from codesign_ros.runtime.head.link_estimate import BusyLink, LinkEstimator
from codesign_ros.types import CodesignError, LinkSpec


def test_transfer_time_by_hand():
    # 125 kB are 1 Mbit: 0.1 s at 10 Mbit/s, and 13 ms of delay on top.
    assert transfer_s(125_000, LinkSpec(10e6, 0.013)) == pytest.approx(0.113)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0,), r"^the link's rate must be above 0 bit/s, not 0$"),
        ((-5e6,), r"above 0 bit/s, not -5e\+06$"),
        ((float("nan"),), "above 0 bit/s, not nan"),
        ((1e6, -0.1), "delay must be 0 s or more, not -0.1"),
        ((1e6, float("nan")), "delay must be 0 s or more, not nan"),
        ((1e6, 0.0, "radio", -1.0), "radio must be 0 W or more, not -1"),
    ],
)
def test_impossible_links_are_refused(values, message):
    with pytest.raises(CodesignError, match=message):
        LinkSpec(*values)


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


def test_transfers_that_overlap_count_as_one():
    link = BusyLink()
    assert link.add(1000, 0.0, 1.0, 0.1) == ((1000, 1.0), 0.0)
    # The link is free from 0.9 on; these two were sent before that.
    assert link.add(1000, 0.4, 1.9, 0.1) == ((2000, 1.9), 0.5)
    assert link.add(1000, 1.0, 2.8, 0.1) == ((3000, 2.8), pytest.approx(0.8))
    # It was idle.
    assert link.add(1000, 3.0, 4.0, 0.1) == ((1000, 1.0), 0.0)


def test_a_long_busy_period_begins_anew_and_is_believed_once_there_is_enough_of_it():
    link = BusyLink()
    found = [link.add(1000, 0.0, 1.0 + number, 0.0)[0] for number in range(10)]
    assert found[: BusyLink.MOST] == [(1000 * n, float(n)) for n in range(1, 7)]
    assert found[BusyLink.MOST :] == [None, None, (3000, 3.0), (4000, 4.0)]


@given(
    times=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=20),
    delay_s=st.floats(0, 1),
)
def test_no_order_of_times_makes_a_transfer_shorter_than_nothing(times, delay_s):
    link = BusyLink()
    for started_s, link_s in times:
        transfer, waited_s = link.add(1000, started_s, started_s + link_s, delay_s)
        assert 0 <= waited_s <= link_s + 1e-9
        assert transfer is None or (transfer[0] > 0 and transfer[1] >= 0)
