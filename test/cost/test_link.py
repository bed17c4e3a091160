"""The link's time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.link import (
    occupancy_s,
    payload_rate_bps,
    round_trip_s,
    saved_by_burst_s,
    travel_s,
)
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec, RadioState


def test_times_by_hand():
    # 125 kB are 1 Mbit: 0.1 s at 10 Mbit/s. The answer's 5 kbit take 1 ms at 5 Mbit/s.
    link = LinkSpec(10e6, 0.013, downlink_bps=5e6, downlink_delay_s=0.006)
    assert occupancy_s(125_000, link) == pytest.approx(0.1)
    assert travel_s(link, 625) == pytest.approx(0.013 + 0.001 + 0.006)
    assert round_trip_s(125_000, link, 625) == pytest.approx(0.12)
    # Eq. 7 as it is printed.
    assert round_trip_s(125_000, link, None) == occupancy_s(125_000, link)


@given(
    payload_bytes=st.integers(1, 100_000),
    burst_bytes=st.integers(1, 60_000),
    idle_s=st.floats(0.0, 2.0),
)
def test_a_burst_saves_what_a_token_bucket_lets_pass_at_once(payload_bytes, burst_bytes, idle_s):
    """Byte by byte: an empty bucket fills while the link is idle, then the payload is sent."""
    link = LinkSpec(8e5, burst_bytes=burst_bytes)  # 100 bytes a millisecond
    tokens = min(burst_bytes, 1e5 * idle_s)
    left = max(0.0, payload_bytes - tokens)
    saved_s = saved_by_burst_s(float(payload_bytes), link, idle_s)
    assert occupancy_s(payload_bytes, link) - saved_s == pytest.approx(left / 1e5, abs=1e-12)


def test_the_way_back_is_as_the_way_there_where_nothing_is_said_of_it():
    link = LinkSpec(10e6, 0.013)
    assert round_trip_s(0, link, 1250) == pytest.approx(0.013 + 0.001 + 0.013)


RADIO = LinkSpec.radio((RadioState(30e6, 10.0), RadioState(2e6, 1.0)))


def test_a_radio_in_numbers():
    assert RADIO.bandwidth_bps == pytest.approx((300e6 + 2e6) / 11)
    assert payload_rate_bps(RADIO) == pytest.approx(11 / (10 / 30e6 + 1 / 2e6))
    # The bad state is 1 / 11 = 9.09 % of the time.
    assert payload_rate_bps(RADIO, 0.05) == payload_rate_bps(RADIO, 0.09) == 2e6
    assert payload_rate_bps(RADIO, 1 / 11) == payload_rate_bps(RADIO, 0.5) == 30e6


@given(
    rates=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5),
    late_share=st.floats(0, 0.99),
)
def test_no_more_frames_than_allowed_find_a_slower_state(rates, late_share):
    link = LinkSpec.radio([RadioState(float(rate), float(mean_s)) for rate, mean_s in rates])
    kept = payload_rate_bps(link, late_share)
    total = sum(mean_s for _, mean_s in rates)
    assert sum(s for rate, s in rates if rate < kept) <= late_share * total + 1e-9
    faster = [rate for rate, _ in rates if rate > kept]
    if faster:
        assert sum(s for rate, s in rates if rate < min(faster)) > late_share * total - 1e-9


def test_times_on_a_radio_are_those_of_a_simulated_one():
    # Frames start at random moments of a radio that changes its state in mid-transfer too.
    rng = np.random.default_rng(4)
    stays = np.column_stack((rng.exponential(10.0, 4000), rng.exponential(1.0, 4000))).ravel()
    ends_s = np.cumsum(stays)
    bits_by = np.cumsum(stays * np.tile([30e6, 2e6], 4000))
    starts_s = rng.uniform(0, ends_s[-1] * 0.9, 50_000)
    done = np.interp(starts_s, [0, *ends_s], [0, *bits_by]) + 8 * 20_000
    took_s = np.interp(done, [0, *bits_by], [0, *ends_s]) - starts_s
    assert np.quantile(took_s, 0.95) == pytest.approx(
        round_trip_s(20_000, RADIO, 0, 0.05), rel=0.05
    )
    assert took_s.mean() == pytest.approx(round_trip_s(20_000, RADIO, 0), rel=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.0,), r"^the link's rate must be above 0 bit/s, not 0$"),
        ((-5e6,), r"above 0 bit/s, not -5e\+06$"),
        ((float("nan"),), "above 0 bit/s, not nan"),
        ((1e6, -0.1), "delay must be 0 s or more, not -0.1"),
        ((1e6, float("nan")), "delay must be 0 s or more, not nan"),
        ((1e6, 0.0, "radio", -1.0), "radio must be 0 W or more, not -1"),
        ((1e6, 0.0, "", None, 0.0), "above 0 bit/s, not 0"),
        ((1e6, 0.0, "", None, 1e6, -1.0), "delay must be 0 s or more, not -1"),
        ((1e6, 0.0, "", None, 1e6, 0.0, -8.0), "burst must be 0 bytes or more, not -8"),
        ((1e6, 0.0, "", None, 1e6, 0.0, 0.0, (RadioState(1e6, 0.0),)), "last above 0 s on av"),
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
