"""The search for the highest rate, on systems whose limit is known."""

import pytest

from codesign_ros.testbed.rates import highest_rate


def loses_above(limit_hz):
    """What a system loses that answers so many frames a second and no more."""
    return lambda rate_hz: max(0.0, 1 - limit_hz / rate_hz)


@pytest.mark.parametrize("start_hz", [4.0, 9.9, 10.0, 11.0, 25.0])
def test_the_limit_is_found_from_either_side(start_hz):
    found_hz = highest_rate(loses_above(10.0), start_hz, steps=12)
    assert found_hz == pytest.approx(10.0 / 0.95, rel=0.02)
    assert found_hz <= 10.0 / 0.95


def test_no_more_rates_are_tried_than_allowed():
    tried = []

    def lost(rate_hz):
        tried.append(rate_hz)
        return loses_above(10.0)(rate_hz)

    highest_rate(lost, 8.0, steps=4)
    assert len(tried) == len(set(tried)) == 4


def test_nothing_keeps_up():
    assert highest_rate(lambda rate_hz: 1.0, 8.0) == 0.0


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        highest_rate(lambda rate_hz: 0.0, 0.0)
