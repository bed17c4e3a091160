"""The time that all frames but a few keep, against frames drawn at random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.cost.lateness import Spreads, margin_s
from codesign_ros.cost.link import round_trip_s
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec, RadioState

RADIO = LinkSpec.radio([RadioState(3e7, 10.0), RadioState(2e6, 1.0)])
UNSURE = LinkSpec(1e7, bandwidth_error_bps=1e6)


def kept_s(head_s, tail_s, size, link, spreads, late_share):
    margin = margin_s(*map(np.asarray, (head_s, tail_s, size)), link, spreads, late_share)
    return head_s + tail_s + round_trip_s(size, link, 0.0, late_share) + float(margin)


@pytest.mark.parametrize("link", [RADIO, LinkSpec(1e7)])
@pytest.mark.parametrize("late_share", [0.02, 0.05, 0.2])
def test_without_spread_it_is_the_links_own(link, late_share):
    assert margin_s(np.array(0.1), np.array(0.2), np.array(1e4), link, Spreads(), late_share) == 0


def test_a_normal_time_by_hand():
    # 1.645 standard deviations of T1 and T2: sqrt(0.03^2 + 0.04^2) = 0.05 s.
    found = kept_s(0.3, 0.2, 0.0, LinkSpec(1e7), Spreads(0.1, 0.2), 0.05)
    assert found == pytest.approx(0.5 + 1.6449 * 0.05, abs=1e-5)
    # 1e5 bytes at 10 Mbit/s that are 10 % unsure: 80 ms and 8 ms.
    found = kept_s(0.0, 0.0, 1e5, UNSURE, Spreads(), 0.05)
    assert found == pytest.approx(0.08 + 1.6449 * 0.008, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.01, 0.1),
    st.floats(0.0, 0.1),
    st.floats(1e3, 1e5),
    st.floats(0.0, 0.3),
    st.floats(0.0, 0.3),
    st.sampled_from([0.02, 0.05, 0.15]),
    st.sampled_from([RADIO, UNSURE]),
)
def test_no_more_frames_are_late_than_allowed(head_s, tail_s, size, one, other, late_share, link):
    rng = np.random.default_rng(1)
    count = 100_000
    rates = np.full(count, link.bandwidth_bps)
    if link.states:
        share = [state.mean_s for state in link.states]
        rates = rng.choice([s.bandwidth_bps for s in link.states], count, p=np.divide(share, 11.0))
    payload_s = 8 * size / rates
    payload_s = payload_s * (
        1 + link.bandwidth_error_bps / link.bandwidth_bps * rng.normal(size=count)
    )
    took_s = head_s * (1 + one * rng.normal(size=count)) + payload_s
    took_s += tail_s * (1 + other * rng.normal(size=count))
    found = kept_s(head_s, tail_s, size, link, Spreads(one, other), late_share)
    assert np.mean(took_s > found * (1 + 1e-9)) <= late_share + 0.004


def test_what_makes_no_sense_is_refused():
    with pytest.raises(CodesignError, match="how far times vary must be 0 or more, not -1"):
        Spreads(-1.0)
    with pytest.raises(CodesignError, match="error of the link's rate must be 0 bit/s or more"):
        LinkSpec(1e6, bandwidth_error_bps=-1.0)
