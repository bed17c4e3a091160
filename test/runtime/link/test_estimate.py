"""The estimate by hypotheses against a token bucket worked out by hand."""

import math

import pytest

from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES, LinkEstimator


def test_nothing_is_known_at_first():
    estimator = LinkEstimator()
    assert estimator.spread > 3  # of the natural logarithm: a factor of 20 either way
    assert estimator.quantile_bps(0.1) < estimator.quantile_bps(0.5) < estimator.quantile_bps(0.9)


def test_what_a_bucket_lets_pass_is_taken_off():
    """A full bucket of 16 kB and 1 Mbit/s: 40 kB alone take as long as 24 kB do."""
    estimator = LinkEstimator()
    delay_s, now_s = 0.01, 0.0
    for wire_bytes in (40_000, 20_000, 64_000, 30_000, 50_000, 24_000, 80_000):
        took_s = 8 * (wire_bytes - 16_000) / 1e6
        estimator.add(wire_bytes - OVERHEAD_BYTES, now_s, now_s + took_s + delay_s, delay_s, 0.0)
        now_s += took_s + 5.0
    assert estimator.quantile_bps(0.5) == pytest.approx(1e6, rel=0.1)
    assert 12_000 < estimator.burst_bytes < 25_000


def test_a_tiny_transfer_behind_a_large_one_is_no_fast_link():
    estimator = LinkEstimator()
    now_s = 0.0
    for _ in range(10):
        large_s = 8 * (30_000 + OVERHEAD_BYTES) / 2e5
        tiny_s = 8 * (64 + OVERHEAD_BYTES) / 2e5
        estimator.add(30_000, now_s, now_s + large_s + 0.01, 0.01, 0.0)
        estimator.add(64, now_s + 0.001, now_s + large_s + tiny_s + 0.01, 0.01, 0.0)
        now_s += large_s + tiny_s
    assert estimator.quantile_bps(0.5) == pytest.approx(2e5, rel=0.1)
    assert estimator.spread < 0.2


@pytest.mark.parametrize("took_share", [0.0, 0.5, 1.0])
def test_what_was_never_answered_took_an_unknown_part_of_the_link(took_share):
    """It may have been replaced before it left, or have crossed: the others show the rate."""
    estimator = LinkEstimator()
    now_s = 0.0
    for number in range(30):
        lost, start_s = number % 3 == 0, now_s
        now_s += 8 * (50_000 + OVERHEAD_BYTES) / 4e6 * (took_share if lost else 1.0)
        estimator.add(50_000, start_s, None if lost else now_s, 0.0, 0.0)
        if lost:  # two that are held behind it
            estimator.add(64, start_s, now_s, 0.0, 0.0)
            estimator.add(30_000, start_s, now_s, 0.0, 0.0)
    assert estimator.quantile_bps(0.5) == pytest.approx(4e6, rel=0.1)


@pytest.mark.parametrize(
    "transfer", [(-1, 0.0, 1.0, 0.0, 0.0), (1, 1.0, 0.5, 0.0, 0.0), (1, 0.0, 1.0, -1.0, 0.0)]
)
def test_what_is_no_transfer_is_refused(transfer):
    estimator = LinkEstimator()
    with pytest.raises(ValueError, match="no transfer"):
        estimator.add(*transfer)


@pytest.mark.parametrize("took_s", [0.0, 1e-9, 1e6])
def test_no_time_makes_the_rate_infinite_or_none(took_s):
    estimator = LinkEstimator()
    for number in range(50):
        estimator.add(100_000, number * 2e6, number * 2e6 + took_s, 0.0, 0.0)
    assert 0 < estimator.quantile_bps(0.5) < math.inf
    assert math.isfinite(estimator.spread)
