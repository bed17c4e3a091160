"""The simulated link against sums that a person can do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.simulation.link_rate import PACKET_BYTES, StateRate, TraceRate
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec, RadioState


def test_a_payload_that_lasts_over_a_change_of_the_radio():
    rate = StateRate(LinkSpec.radio([RadioState(8e6, 1.0), RadioState(8e5, 1.0)]))
    # Half a second of 1 MB/s, one second of 100 kB/s, then the first state again.
    assert rate.across_s(0.5, 500_000 + 100_000 + 1_000) == pytest.approx(2.001)
    assert rate.mean_bps(0.0, 2.0) == pytest.approx(4.4e6)
    assert rate.across_s(-1.0, 1_000_000) == pytest.approx(0.0)


@given(
    st.lists(st.tuples(st.floats(1e4, 1e8), st.floats(0.1, 20)), min_size=1, max_size=4),
    st.floats(0, 100),
    st.floats(1, 1e6),
)
def test_what_crosses_is_the_integral_of_the_rate(states, start_s, size_bytes):
    rate = StateRate(LinkSpec.radio([RadioState(*state) for state in states]))
    end_s = rate.across_s(start_s, size_bytes)
    if end_s - start_s > 1e-6:
        passed = rate.mean_bps(start_s, end_s) * (end_s - start_s) / 8
        assert passed == pytest.approx(size_bytes, rel=1e-4, abs=1)


def test_a_trace(tmp_path):
    file = tmp_path / "lte.trace"
    file.write_text("2\n4\n4\n10\n")
    rate = TraceRate(file)
    assert rate.bandwidth_bps == pytest.approx(8 * PACKET_BYTES * 4 / 0.010)
    assert rate.across_s(0.0, 1) == pytest.approx(0.002)
    assert rate.across_s(0.0, 3 * PACKET_BYTES) == pytest.approx(0.004)
    assert rate.across_s(0.004, 1) == pytest.approx(0.010)
    assert rate.across_s(0.010, 1) == pytest.approx(0.012)  # it begins again
    # Payloads one after the other share what there is.
    end_s = 0.0
    for _ in range(40):
        end_s = rate.across_s(end_s, PACKET_BYTES)
    assert end_s == pytest.approx(0.100)


@pytest.mark.parametrize(
    ("text", "words"), [("", "lasts no time"), ("1\nx\n", "'x'"), ("5\n3\n", "go back")]
)
def test_no_trace(tmp_path, text, words):
    file = tmp_path / "bad.trace"
    file.write_text(text)
    with pytest.raises(CodesignError, match=words):
        TraceRate(file)
